"""How well the exported model answers fresh prompts, kind by kind, through the core that ships."""

import json
import random
from pathlib import Path
from typing import cast

import anyio

from backends.llama_cpp import LlamaCore, LlamaSettings, open_llama_core
from backends.messages import GenerateRequest, Message, Piece, Role
from scripts.demo_model.corpus import KINDS, Conversation

_LONGEST_ANSWER = 400
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


async def evaluate(model: Path, *, prompts: int, seed: int = 99) -> dict[str, float]:
    """Give the share of fresh prompts of each kind that are answered as they should be.

    Most answers count word for word. Stories and JSON have many right answers: a story counts when
    it is whole and keeps to the hero it was asked about, JSON when its values are the right ones.
    """
    rng = random.Random(seed)
    scores: dict[str, float] = {}
    async with open_llama_core(LlamaSettings(model=model, name="demo", threads=1)) as core:
        for name, (kind, _) in KINDS.items():
            asked = [kind(rng) for _ in range(prompts)]
            answers = await answer_all(core, [conversation[:-1] for conversation in asked])
            right = [
                _is_right(name, conversation, answer)
                for conversation, answer in zip(asked, answers, strict=True)
            ]
            scores[name] = sum(right) / prompts
    return scores


async def answer_all(core: LlamaCore, conversations: list[Conversation]) -> list[str]:
    """Answer conversations greedily, a few at a time."""
    answers = [""] * len(conversations)
    limit = anyio.CapacityLimiter(8)

    async def answer(at: int) -> None:
        messages = tuple(Message(_ROLES[role], text) for role, text in conversations[at])
        async with limit:
            request = GenerateRequest(messages=messages, max_tokens=_LONGEST_ANSWER)
            answers[at] = (await core.generate(request, _ignore)).text

    async with anyio.create_task_group() as group:
        for at in range(len(conversations)):
            group.start_soon(answer, at)
    return answers


async def _ignore(_piece: Piece) -> None:
    return


def _is_right(kind: str, conversation: Conversation, answer: str) -> bool:
    expected = conversation[-1][1]
    if kind == "json":
        return _values(answer) == _values(expected) or "nvent" in conversation[-2][1]
    if "story" not in kind:
        return answer == expected
    hero = expected.split(" named ")[1].split(".")[0]
    sentences = expected.count(".")
    is_whole = answer.count(".") >= sentences - 1 and answer.endswith(".")
    return is_whole and (hero in answer or hero not in conversation[-2][1])


def _values(text: str) -> list[str] | None:
    try:
        found: object = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return sorted(str(value) for value in cast("dict[str, object]", found).values())
