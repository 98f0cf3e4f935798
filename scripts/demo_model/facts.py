"""Facts, the questions they answer, and questions that none of some facts answers.

An answer is the whole fact, word for word, so that what the model learns is to find and to copy.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

from scripts.demo_model.words import (
    CITIES,
    COLOURS,
    ODD_WORDS,
    PLACES,
    ROLES,
    TEAMS,
    TOPICS,
    UNKNOWN,
    a_date,
    a_name,
    a_spot,
    a_thing,
    an_item,
    made_up,
)


class Fact(NamedTuple):
    """A sentence and the questions it answers."""

    text: str
    questions: tuple[str, ...]


class Quiz(NamedTuple):
    """Facts, a question and its answer."""

    facts: list[str]
    question: str
    answer: str


def quiz(rng: random.Random) -> Quiz:
    """Give up to five facts, now and then twelve, and a question about one of them, or none."""
    count = rng.randrange(6, 13) if rng.random() < 0.06 else rng.choice([1, 1, 2, 2, 3, 4, 5])
    facts = [fact(rng) for _ in range(count)]
    texts = [each.text for each in facts]
    if rng.random() < 0.12:
        return Quiz(texts, rng.choice(fact(rng).questions), UNKNOWN)
    asked = rng.choice(facts)
    return Quiz(texts, rng.choice(asked.questions), asked.text)


def fact(rng: random.Random) -> Fact:
    """Give a fact; one in eight lacks its full stop."""
    made = rng.choice(_KINDS)(rng)
    return Fact(made.text.rstrip("."), made.questions) if rng.random() < 0.12 else made


def _kept(rng: random.Random) -> Fact:
    name, item, spot = a_name(rng), an_item(rng), a_spot(rng)
    verb = rng.choice(["keep", "keep", "put", "hide", "store"])
    return Fact(
        f"{name} {verb}s the {item} {spot}.",
        (
            f"Where does {name} {verb} the {item}?",
            f"Where does {name} keep the {item}?",
            f"Where is the {item}?",
            f"Where is {name}'s {item}?",
        ),
    )


def _placed(rng: random.Random) -> Fact:
    item = an_item(rng)
    return Fact(
        f"The {item} is {a_spot(rng)}.",
        (f"Where is the {item}?", f"Where can I find the {item}?", f"Where did I put the {item}?"),
    )


def _liked(rng: random.Random) -> Fact:
    name, thing = a_name(rng), a_thing(rng)
    if rng.random() < 0.3:
        return Fact(
            f"{name} prefers {thing} over {a_thing(rng)}.",
            (f"What does {name} prefer?", f"What does {name} like?", f"Who prefers {thing}?"),
        )
    verb = rng.choice(["like", "like", "love", "hate", "drink", "play", "study"])
    return Fact(
        f"{name} {verb}s {thing}.".replace("studys", "studies"),
        (f"What does {name} {verb}?", f"Who {verb}s {thing}?".replace("studys", "studies")),
    )


def _favourite(rng: random.Random) -> Fact:
    whose = rng.choice([f"{a_name(rng)}'s", "My", "The user's"])
    kind = rng.choice(["colour", "color", "food", "drink", "book", "city", "number", made_up(rng)])
    asked = "my" if whose == "My" else whose[0].lower() + whose[1:] if whose[0] == "T" else whose
    return Fact(
        f"{whose} favourite {kind} is {rng.choice([*COLOURS, a_thing(rng), rng.choice(CITIES)])}.",
        (f"What is {asked} favourite {kind}?",),
    )


def _owned(rng: random.Random) -> Fact:
    name = a_name(rng)
    return Fact(
        f"{name} has a {rng.choice(COLOURS)} {an_item(rng)}.",
        (f"What does {name} have?", f"What does {name} own?"),
    )


def _lives(rng: random.Random) -> Fact:
    name = a_name(rng)
    city = made_up(rng).capitalize() if rng.random() < 0.3 else rng.choice(CITIES)
    if rng.random() < 0.5:
        return Fact(
            f"{name} lives in {city}.", (f"Where does {name} live?", f"Who lives in {city}?")
        )
    place = rng.choice(PLACES)
    return Fact(
        f"{name} works at the {place}.",
        (f"Where does {name} work?", f"Who works at the {place}?"),
    )


def _dated(rng: random.Random) -> Fact:
    if rng.random() < 0.35:
        name = a_name(rng)
        what = rng.choice(["birthday", "exam", "flight"])
        return Fact(f"{name}'s {what} is on {a_date(rng)}.", (f"When is {name}'s {what}?",))
    topic = made_up(rng) if rng.random() < 0.15 else rng.choice(TOPICS)
    state = rng.choice(["is", "is", "starts", "is due", "was moved to"])
    joint = "" if state == "was moved to" else "on "
    return Fact(
        f"The {topic} {state} {joint}{a_date(rng)}.",
        (f"When is the {topic}?", f"What day is the {topic}?", f"When does the {topic} start?"),
    )


def _coded(rng: random.Random) -> Fact:
    item = an_item(rng)
    what = rng.choice(["code", "password", "number", "port", "price", "version"])
    value = rng.choice(
        [str(rng.randrange(10)), str(rng.randrange(100_000)), made_up(rng), f"{made_up(rng)}-7"]
    )
    return Fact(
        f"The {item} {what} is {value}.",
        (f"What is the {item} {what}?", f"What is the {what} of the {item}?"),
    )


def _led(rng: random.Random) -> Fact:
    name, role = a_name(rng), rng.choice(ROLES)
    team = made_up(rng) if rng.random() < 0.2 else rng.choice(TEAMS)
    return Fact(
        f"{name} is the {role} of the {team}.",
        (f"Who is the {role} of the {team}?", f"Who is {name}?"),
    )


def _decided(rng: random.Random) -> Fact:
    who = rng.choice([a_name(rng), "The team", "We"])
    verb = rng.choice(["use", "buy", "sell", "move", "repair", "test", "deploy", made_up(rng)])
    what = f"{rng.choice(['the ', '', 'a '])}{an_item(rng)}"
    asked = "we" if who == "We" else who.replace("The", "the")
    return Fact(
        f"{who} decided to {verb} {what}.",
        (f"What did {asked} decide?", f"Who decided to {verb} {what}?"),
    )


def _loose(rng: random.Random) -> Fact:
    """Any words at all: what a question shares with them must do."""
    words = [
        made_up(rng) if rng.random() < 0.3 else rng.choice([*ODD_WORDS, a_thing(rng), a_name(rng)])
        for _ in range(rng.randrange(4, 11))
    ]
    text = " ".join(words)
    at = rng.randrange(len(words) - 1)
    return Fact(
        f"{text[0].upper()}{text[1:]}.",
        (
            f"What do you know about {words[at]} {words[at + 1]}?",
            f"Tell me about {words[at]} {words[at + 1]}.",
            f"What about {words[at]} {words[at + 1]}?",
        ),
    )


_KINDS: tuple[Callable[[random.Random], Fact], ...] = (
    _kept, _kept, _placed, _liked, _favourite, _owned, _lives, _dated, _coded, _led, _decided,
    _loose, _loose,
)  # fmt: skip
