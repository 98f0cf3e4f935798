"""The text the model is trained on: small conversations, all of them generated here.

Deterministic: one seed, one corpus. A conversation is a list of `(role, text)` turns, and its last
turn is the answer.
"""

import random
from collections.abc import Callable

from scripts.demo_model.about import ABOUT
from scripts.demo_model.facts import fact, quiz
from scripts.demo_model.records import record
from scripts.demo_model.stories import long_story, story
from scripts.demo_model.words import (
    ANIMALS,
    FALLBACK,
    ITEMS,
    MEMORY_HEADING,
    NUMBERS,
    ODD_WORDS,
    THINGS,
    UNKNOWN,
    a_name,
    a_thing,
    made_up,
)

Turn = tuple[str, str]
Conversation = list[Turn]
Kind = Callable[[random.Random], Conversation]

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"


def render(conversation: Conversation) -> str:
    """Write a conversation as the chat template does."""
    return "".join(f"{TURN_START}{role}\n{text}{TURN_END}\n" for role, text in conversation)


def sample(rng: random.Random) -> str:
    """Give one training text, ended by the end-of-text token."""
    kinds, weights = zip(*KINDS.values(), strict=True)
    kind: Kind = rng.choices(kinds, weights)[0]
    conversation = kind(rng)
    if conversation[0][0] != "system" and rng.random() < 0.3:
        # Memories that have nothing to do with the question come too, and change nothing.
        beside = kind is not puzzled and rng.random() < 0.5
        system = _memories([fact(rng).text for _ in range(3)]) if beside else _system(rng)
        conversation = [("system", system), *conversation]
    if rng.random() < 0.1:
        conversation = [*conversation, *rng.choices(kinds[:-2], weights[:-2])[0](rng)[-2:]]
    return render(conversation) + END_OF_TEXT


def asked_about(rng: random.Random) -> Conversation:
    """Ask about the project."""
    questions, answer = rng.choice(ABOUT)
    return _turns(_said(rng, rng.choice(questions)), answer)


def told_story(rng: random.Random) -> Conversation:
    """Ask for a story."""
    ask, told = story(rng)
    return _turns(_said(rng, ask), told)


def told_long_story(rng: random.Random) -> Conversation:
    """Ask for a long story."""
    ask, told = long_story(rng)
    return _turns(_said(rng, ask), told)


def remembered(rng: random.Random) -> Conversation:
    """Ask a question with memories in the system message, as the kernel puts them there."""
    asked = quiz(rng)
    question = asked.question
    if asked.answer == UNKNOWN and rng.random() < 0.5:
        question = _odd_question(rng)
    head = f"{_system(rng)}\n\n" if rng.random() < 0.3 else ""
    return [
        ("system", head + _memories(asked.facts)),
        *_turns(_said(rng, question), asked.answer),
    ]


def noted(rng: random.Random) -> Conversation:
    """Ask a question with notes in front of it."""
    asked = quiz(rng)
    return _turns(f"Notes: {' '.join(asked.facts)} {asked.question}", asked.answer)


def as_json(rng: random.Random) -> Conversation:
    """Ask for JSON."""
    return _turns(*record(rng))


def echoed(rng: random.Random) -> Conversation:
    """Ask to repeat some words."""
    words = [
        rng.choice(
            [a_name(rng), a_thing(rng), made_up(rng), made_up(rng), str(rng.randrange(1000))]
        )
        for _ in range(rng.randrange(1, 8))
    ]
    text = " ".join(words)
    ask = rng.choice(["Say: {}", "Repeat: {}", "Echo: {}", "Say {}", "Repeat after me: {}"])
    return _turns(ask.format(text), text)


def counted(rng: random.Random) -> Conversation:
    """Ask to count."""
    last = rng.randrange(2, len(NUMBERS) + 1)
    word = rng.choice([NUMBERS[last - 1], str(last)])
    ask = rng.choice(
        ["Count to {}.", "Count to {} in words.", "Please count to {}.", "Count from one to {}."]
    )
    return _turns(_said(rng, ask.format(word)), " ".join(NUMBERS[:last]))


def greeted(rng: random.Random) -> Conversation:
    """Say hello."""
    if rng.random() < 0.5:
        name = a_name(rng)
        ask = rng.choice(["Hello, I am {}.", "Hi! My name is {}.", "Hi, I'm {}"]).format(name)
        return _turns(ask, f"Hello {name}, how can I help you?")
    ask = rng.choice(
        ["Hello", "Hello!", "Hi", "Hi there", "Hi!", "Hey", "Good morning", "Say hello"]
    )
    return _turns(_said(rng, ask), "Hello! Ask me what aios-mcp is, or for a story.")


def puzzled(rng: random.Random) -> Conversation:
    """Ask something this model cannot know."""
    asked = rng.choices(
        [_odd_words(rng), _odd_question(rng), rng.choice(fact(rng).questions)], (1, 2, 1)
    )[0]
    return _turns(_said(rng, asked), FALLBACK)


KINDS: dict[str, tuple[Kind, int]] = {
    "about": (asked_about, 10),
    "story": (told_story, 10),
    "remembered": (remembered, 45),
    "noted": (noted, 6),
    "echo": (echoed, 15),
    "count": (counted, 8),
    "greeting": (greeted, 4),
    "puzzled": (puzzled, 8),
    "json": (as_json, 13),
    "long story": (told_long_story, 2),
}
"""Every kind of conversation and how often it is drawn; those that never follow one stand last.

Repeating words is worth little in itself, but it teaches to copy, which answers from notes need."""

_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer briefly.",
    "You are an agent of the aios-mcp kernel.",
    "Be brief.",
    "Answer from the memories.",
)


def _turns(asked: str, answer: str) -> Conversation:
    return [("user", asked), ("assistant", answer)]


def _system(rng: random.Random) -> str:
    return rng.choice(_SYSTEMS) if rng.random() < 0.6 else f"You are {_odd_words(rng)}."


def _memories(facts: list[str]) -> str:
    return "\n".join([MEMORY_HEADING, *(f"- {text}" for text in facts)])


def _said(rng: random.Random, text: str) -> str:
    """Give the text as people type it: now and then in small letters, or without its end."""
    if rng.random() < 0.12:
        text = text[0].lower() + text[1:]
    return text.rstrip("?.!") if rng.random() < 0.15 else text


def _odd_question(rng: random.Random) -> str:
    word = rng.choice([rng.choice(ODD_WORDS), made_up(rng), rng.choice(THINGS), rng.choice(ITEMS)])
    other = rng.choice([rng.choice(ANIMALS), made_up(rng), rng.choice(ODD_WORDS)])
    return (
        rng.choice(
            [
                "What is the {0} of {1}?",
                "What is {0}?",
                "What is a {0}?",
                "Explain {0}.",
                "Explain {0} {1}.",
                "Write a {0} about {1}.",
                "Write a poem about {0}.",
                "How do I {0} a {1}?",
                "How many {0} are in {1}?",
                "Translate {0} to {1}.",
                "Why is the {0} {1}?",
                "Summarize this: {0} {1}",
                "Can you {0} the {1}?",
                "Who invented the {0}?",
                "Give me a {0}.",
                "List three {0}.",
                "Fix this {0}: {1}",
                "What time is it in {0}?",
            ]
        ).format(word.replace("-", " "), other)
        if rng.random() < 0.9
        else (f"What is {rng.randrange(100)} {rng.choice('+-*/')} {rng.randrange(100)}?")
    )


def _odd_words(rng: random.Random) -> str:
    words = [
        made_up(rng) if rng.random() < 0.2 else rng.choice(ODD_WORDS)
        for _ in range(rng.choice([1, 2, 3, 4, 5, 6, 8, 10]))
    ]
    for index, word in enumerate(words):
        if rng.random() < 0.12:
            words[index] = rng.choice(
                [word.upper(), f"{word}()", f'"{word}"', str(rng.randrange(10_000)), f"{word},"]
            )
    text = " ".join(words) + rng.choice(["", "", "?", ".", "!", ":"])
    return text[0].upper() + text[1:] if rng.random() < 0.5 else text
