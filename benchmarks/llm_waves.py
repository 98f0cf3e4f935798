"""Waves of agents that ask one model at the same time, some times in a row, whoever serves it."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import TypeAlias

import anyio

from backends.llama_cpp import LlamaCore
from backends.messages import GenerateRequest, Message, Piece


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one agent asks; without a system prompt where `system` is ""."""

    text: str
    system: str = ""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation."""
        said = Message("user", self.text)
        return (Message("system", self.system), said) if self.system else (said,)


@dataclass(frozen=True, slots=True)
class Answered:
    """How long the first piece of an answer took, and how many tokens the answer has."""

    first_ms: float
    tokens: int


Ask: TypeAlias = Callable[[Prompt, int], Awaitable[Answered]]
"""Asks a server for so many tokens, greedily, and streams the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Agents that begin at the same time and ask as often as they have prompts.

    Attributes:
        first_ms: Time to the first token of every answer.
        at_once_ms: The same of each agent's first answer.
    """

    seconds: float
    tokens: int
    first_ms: tuple[float, ...]
    at_once_ms: tuple[float, ...]


async def send_wave(ask: Ask, agents: Sequence[Sequence[Prompt]], new_tokens: int) -> Wave:
    """Let all agents ask together, each its prompts one after the other; wait for the last."""
    answers: list[list[Answered]] = [[] for _ in agents]

    async def work(prompts: Sequence[Prompt], answered: list[Answered]) -> None:
        for prompt in prompts:
            answered.append(await ask(prompt, new_tokens))  # noqa: PERF401 - one after the other

    started = time.perf_counter()
    async with anyio.create_task_group() as group:
        for prompts, answered in zip(agents, answers, strict=True):
            group.start_soon(work, prompts, answered)
    return Wave(
        seconds=time.perf_counter() - started,
        tokens=sum(answer.tokens for answered in answers for answer in answered),
        first_ms=tuple(answer.first_ms for answered in answers for answer in answered),
        at_once_ms=tuple(answered[0].first_ms for answered in answers),
    )


def tokens_per_second(waves: Sequence[Wave]) -> float:
    """Give the median over waves."""
    return median(wave.tokens / wave.seconds for wave in waves)


def first_ms(waves: Sequence[Wave], *, at_once: bool = False) -> float:
    """Give the median over all answers of all waves, or over those that began them."""
    return median(
        first for wave in waves for first in (wave.at_once_ms if at_once else wave.first_ms)
    )


def ask_core(core: LlamaCore) -> Ask:
    """Ask a core of ours."""

    async def ask(prompt: Prompt, new_tokens: int) -> Answered:
        started = time.perf_counter()
        first = 0.0

        async def emit(_piece: Piece) -> None:
            nonlocal first
            first = first or 1000 * (time.perf_counter() - started)

        request = GenerateRequest(messages=prompt.messages, max_tokens=new_tokens)
        completion = await core.generate(request, emit)
        return Answered(first, completion.usage.output_tokens)

    return ask


def words(seed: int, size: int) -> str:
    """Give a text of so many letters, each a token to the random model."""
    return "".join(Random(seed).choices("abcdefgh ", k=size))
