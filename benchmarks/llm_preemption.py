"""An urgent call in front of eight long generations that hold all eight slots of a core.

The same scheduler and core twice: once the urgent call waits for a slot, once the scheduler asks
one back and the core lets that generation stand still.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

import anyio

from backends.llama_cpp import LlamaCore, LlamaSettings, open_llama_core
from backends.messages import GenerateRequest, Message, Piece
from benchmarks.figures import Figure
from benchmarks.random_model import Shape
from scheduler import Job, Lane, Scheduler, SchedulerDriver
from scheduler.policies import Priority

SLOTS = 8
LONG_TOKENS = 200
URGENT_TOKENS = 8
URGENT_CALLS = 4
PROMPT_BYTES = 40
_AGEING_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Eight long generations and some urgent ones."""

    first_ms: list[float]
    seconds: float
    texts: dict[int, str]


@dataclass(slots=True)
class _Begun:
    """Set once every long generation is under way."""

    count: int = 0
    all: anyio.Event = field(default_factory=anyio.Event)

    def add(self) -> None:
        self.count += 1
        if self.count == SLOTS:
            self.all.set()


async def preemption(model: Path, *, quick: bool) -> list[Figure]:
    """Measure the urgent first token alone, in line and with pausing, and what it costs the others.

    Args:
        model: A model as `benchmarks.random_model.write_random_model` writes it.
        quick: One round instead of five.
    """
    settings = LlamaSettings(
        model=model, name="random", slots=SLOTS, context_tokens=Shape().context, threads=1
    )
    waited: list[Round] = []
    paused: list[Round] = []
    alone: list[float] = []
    async with open_llama_core(settings) as core:
        await _urgent(core, _driver(pauses=False), 0)
        for number in range(1 if quick else 5):
            alone += [
                await _urgent(core, _driver(pauses=False), at) for at in range(2 * URGENT_CALLS)
            ]
            waited.append(await _round(core, number, pauses=False))
            paused.append(await _round(core, number, pauses=True))
    same = sum(
        one.texts[at] == other.texts[at]
        for one, other in zip(waited, paused, strict=True)
        for at in range(SLOTS)
    )
    return [*_figures(alone, waited, paused), _equality(same, SLOTS * len(waited))]


def _figures(alone: list[float], waited: list[Round], paused: list[Round]) -> list[Figure]:
    # The first urgent call of a round is the one that finds all slots in long use.
    queue_ms = median(each.first_ms[0] for each in waited)
    first_ms = median(first for each in paused for first in each.first_ms)
    seconds = [sum(each.seconds for each in rounds) for rounds in (waited, paused)]
    return [
        Figure(
            name=f"urgent call, {SLOTS} long ones on {SLOTS} slots: first token in line / pausing",
            value=queue_ms / first_ms,
            unit="x",
            bar=20.0,
            better="higher",
            peer=f"{first_ms:.0f} ms, in line: {queue_ms:,.0f} ms",
        ),
        Figure(
            name="the same: first token with pausing / alone",
            value=first_ms / median(alone),
            unit="x",
            bar=2.0,
            peer=f"{first_ms:.0f} ms, alone: {median(alone):.0f} ms",
        ),
        Figure(
            name="the same: time for all of the work with pausing / in line",
            value=seconds[1] / seconds[0],
            unit="x",
            bar=1.05,
            peer=f"{seconds[1]:.1f} s, {seconds[0]:.1f} s",
        ),
    ]


def _equality(same: int, of: int) -> Figure:
    return Figure(
        name="long answers that are the same with pausing",
        value=same,
        unit=f"of {of}",
        bar=of,
        better="higher",
    )


def _driver(*, pauses: bool) -> SchedulerDriver:
    pausable = ("core",) if pauses else ()
    return SchedulerDriver(Scheduler({"core": SLOTS}, Priority(_AGEING_SECONDS), pausable=pausable))


async def _round(core: LlamaCore, number: int, *, pauses: bool) -> Round:
    driver = _driver(pauses=pauses)
    begun = _Begun()
    texts: dict[int, str] = {}
    first_ms: list[float] = []

    async def long(at: int) -> None:
        job = Job(id=f"long-{at}", agent=f"agent-{at}", resources=("core",), cost=LONG_TOKENS)
        has_begun = False

        async def emit(piece: Piece) -> None:
            nonlocal has_begun
            lease.report(lease.used + piece.tokens)
            if not has_begun:
                has_begun = True
                begun.add()

        async with driver.lease(job) as lease:
            request = _request(_words(100 * number + at), LONG_TOKENS)
            texts[at] = (await core.generate(request, emit, lease)).text

    started = time.perf_counter()
    async with anyio.create_task_group() as group:
        for at in range(SLOTS):
            group.start_soon(long, at)
        await begun.all.wait()
        first_ms += [await _urgent(core, driver, 100 * number + at) for at in range(URGENT_CALLS)]
    return Round(first_ms=first_ms, seconds=time.perf_counter() - started, texts=texts)


async def _urgent(core: LlamaCore, driver: SchedulerDriver, seed: int) -> float:
    """Milliseconds from the call to its first token."""
    job = Job(id="urgent", agent="urgent", resources=("core",), lane=Lane.URGENT)
    first_ms = 0.0
    started = time.perf_counter()

    async def emit(_piece: Piece) -> None:
        nonlocal first_ms
        first_ms = first_ms or 1000 * (time.perf_counter() - started)

    async with driver.lease(job) as lease:
        await core.generate(_request(_words(9000 + seed), URGENT_TOKENS), emit, lease)
    return first_ms


def _request(prompt: str, new_tokens: int) -> GenerateRequest:
    return GenerateRequest(messages=(Message("user", prompt),), max_tokens=new_tokens)


def _words(seed: int) -> str:
    return "".join(Random(seed).choices("abcdefgh ", k=PROMPT_BYTES))
