"""What eight agents get out of one model: our core against `Llama` behind a lock.

Both run the same 18-million-weight model of random numbers in the same llama.cpp, on one thread,
greedily; the core from its worker process, as in production.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from threading import Lock

import anyio
import llama_cpp
from anyio import to_thread

from backends.llama_cpp import LlamaCore, LlamaSettings, open_llama_core
from backends.messages import Completion, GenerateRequest, Message, Piece
from benchmarks.figures import Figure
from benchmarks.random_model import Shape, write_random_model

AGENTS = 8
PROMPT_BYTES = 16
SYSTEM_BYTES = 700
NEW_TOKENS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """All agents asking at the same time, once each."""

    tokens_per_second: float
    first_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A completion, and how long its first piece took."""

    completion: Completion
    first_ms: float


def run(*, quick: bool) -> list[Figure]:
    """Measure throughput, time to the first token, equality of answers and prefix reuse."""
    with TemporaryDirectory() as folder:
        model = Path(folder) / "random.gguf"
        write_random_model(model, Shape())
        return anyio.run(partial(_measure, model, rounds=1 if quick else 5))


async def _measure(model: Path, *, rounds: int) -> list[Figure]:
    locked: list[Wave] = []
    batched: list[Wave] = []
    llama = llama_cpp.Llama(
        str(model), n_ctx=Shape().context, n_threads=1, n_threads_batch=1, verbose=False
    )
    settings = LlamaSettings(
        model=model, name="random", slots=AGENTS, context_tokens=Shape().context, threads=1
    )
    async with open_llama_core(settings) as core:
        await _ask(core, "warm up", 2)
        for number in range(rounds):
            prompts = [_words(10 * number + agent, PROMPT_BYTES) for agent in range(AGENTS)]
            locked.append(await to_thread.run_sync(_locked_wave, llama, prompts))
            batched.append(_wave(*await _ask_together(core, prompts, NEW_TOKENS)))
        llama.close()
        return [
            _throughput(locked, batched),
            _first_token(locked, batched),
            await _equality(core),
            *await _prefix(core),
        ]


# --- figures -----------------------------------------------------------------------------------


def _throughput(locked: Sequence[Wave], batched: Sequence[Wave]) -> Figure:
    peer, ours = (median(wave.tokens_per_second for wave in waves) for waves in (locked, batched))
    return Figure(
        name=f"8 agents, {NEW_TOKENS} new tokens each: tokens per second / with a lock",
        value=ours / peer,
        unit="x",
        bar=2.0,
        better="higher",
        peer=f"{ours:.0f}/s, Llama behind a lock: {peer:.0f}/s",
    )


def _first_token(locked: Sequence[Wave], batched: Sequence[Wave]) -> Figure:
    peer, ours = (
        median(first for wave in waves for first in wave.first_ms) for waves in (locked, batched)
    )
    return Figure(
        name="the same: median time to the first token with a lock / ours",
        value=peer / ours,
        unit="x",
        bar=10.0,
        better="higher",
        peer=f"{ours:.0f} ms, Llama behind a lock: {peer:,.0f} ms",
    )


async def _equality(core: LlamaCore) -> Figure:
    prompts = [_words(1000 + agent, 40 + 30 * agent) for agent in range(AGENTS)]
    together, _ = await _ask_together(core, prompts, 24)
    alone = [await _ask(core, prompt, 24) for prompt in prompts]
    same = [
        one.completion.text == other.completion.text
        for one, other in zip(together, alone, strict=True)
    ]
    return Figure(
        name="greedy answers that are the same alone and together",
        value=sum(same),
        unit=f"of {AGENTS}",
        bar=AGENTS,
        better="higher",
    )


async def _prefix(core: LlamaCore) -> list[Figure]:
    system = _words(2000, SYSTEM_BYTES)
    prompts = [f"{system} {_words(3000 + agent, 30)}" for agent in range(AGENTS)]
    together, _ = await _ask_together(core, prompts, 1)
    usages = [each.completion.usage for each in together]
    asked = sum(usage.input_tokens for usage in usages)
    computed = asked - sum(usage.cached_tokens for usage in usages)
    cold = await _ask(core, f"{_words(4000, SYSTEM_BYTES)} first", 1)
    warm = await _ask(core, f"{_words(4000, SYSTEM_BYTES)} second", 1)
    return [
        Figure(
            name="8 agents start together with one system prompt: prompt tokens computed",
            value=100 * computed / asked,
            unit="%",
            bar=30.0,
            peer=f"{computed:,} of {asked:,} tokens",
        ),
        Figure(
            name="time to the first token, prompt of 700 tokens unknown / kept",
            value=cold.first_ms / warm.first_ms,
            unit="x",
            bar=3.0,
            better="higher",
            peer=f"{cold.first_ms:.0f} ms, {warm.first_ms:.0f} ms",
        ),
    ]


# --- asking ------------------------------------------------------------------------------------


async def _ask(core: LlamaCore, prompt: str, new_tokens: int) -> Answered:
    started = time.perf_counter()
    first_ms = 0.0

    async def emit(_piece: Piece) -> None:
        nonlocal first_ms
        first_ms = first_ms or 1000 * (time.perf_counter() - started)

    request = GenerateRequest(messages=(Message("user", prompt),), max_tokens=new_tokens)
    return Answered(await core.generate(request, emit), first_ms)


async def _ask_together(
    core: LlamaCore, prompts: Sequence[str], new_tokens: int
) -> tuple[list[Answered], float]:
    """Give the answers in order, and the seconds until the last."""
    answers: dict[int, Answered] = {}

    async def one(at: int) -> None:
        answers[at] = await _ask(core, prompts[at], new_tokens)

    started = time.perf_counter()
    async with anyio.create_task_group() as group:
        for at in range(len(prompts)):
            group.start_soon(one, at)
    seconds = time.perf_counter() - started
    return [answers[at] for at in range(len(prompts))], seconds


def _wave(answers: Sequence[Answered], seconds: float) -> Wave:
    tokens = sum(answer.completion.usage.output_tokens for answer in answers)
    return Wave(
        tokens_per_second=tokens / seconds, first_ms=tuple(answer.first_ms for answer in answers)
    )


def _locked_wave(llama: llama_cpp.Llama, prompts: Sequence[str]) -> Wave:
    lock = Lock()

    def one(prompt: str) -> float:
        begun = time.perf_counter()
        with lock:
            stream = llama.create_chat_completion(
                [{"role": "user", "content": prompt}],
                max_tokens=NEW_TOKENS,
                temperature=0.0,
                repeat_penalty=1.0,
                stream=True,
            )
            first_ms = 0.0
            for _ in stream:
                first_ms = first_ms or 1000 * (time.perf_counter() - begun)
        return first_ms

    started = time.perf_counter()
    with ThreadPoolExecutor(AGENTS) as threads:
        first_ms = tuple(threads.map(one, prompts))
    seconds = time.perf_counter() - started
    return Wave(tokens_per_second=len(prompts) * NEW_TOKENS / seconds, first_ms=first_ms)


def _words(seed: int, size: int) -> str:
    return "".join(Random(seed).choices("abcdefgh ", k=size))
