"""What the kernel costs a generation: gate, ledger, audit on disk and scheduler, around one core.

The core takes 50 ms whatever it is asked. The same agents ask it directly and through the kernel,
in turns and in one process. The kernel puts every call on disk twice and waits for it once, before
the work, so the time that one write to this disk takes is shown beside the figures.
"""

import itertools
import os
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import anyio

from aios_mcp.kernel import Agent, Allowance, Grants, Kernel
from aios_mcp.kernel.calls import GenerateCall
from aios_mcp.kernel.cores import Core, Cores, Price
from aios_mcp.kernel.gate import Gate
from aios_mcp.kernel.kernel import MEMORY, Waits
from aios_mcp.kernel.tool_catalog import ToolCatalog
from backends.database import open_database
from backends.journal import JOURNAL, SqliteJournal
from backends.messages import Completion, CoreStatus, GenerateRequest, Message, Piece, Usage
from backends.protocols import Emit, Turn
from backends.scripted_memories import ListMemories
from backends.turns import UNINTERRUPTED
from benchmarks.figures import Figure
from scheduler import Scheduler, SchedulerDriver
from scheduler.policies import Fair

CORE_SECONDS = 0.05
MOST_AT_ONCE = 128
CROWD = 2000
CROWD_SLOTS = 32
NOW = 1_790_000_000.0

Ask = Callable[[Agent], Awaitable[object]]


def run(*, quick: bool) -> list[Figure]:
    """Measure what one call takes longer, and how many a crowd of agents gets done."""
    return anyio.run(_run, 1 if quick else 3)


class SleepyCore:
    """Answers one word after 50 ms."""

    _STATUS = CoreStatus(model="sleepy", state="ready")

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        """Take the time, then answer."""
        del request
        await anyio.sleep(CORE_SECONDS)
        await emit(Piece("word", 1))
        return Completion("word", "stop", Usage(input_tokens=8, output_tokens=1))

    def status(self) -> CoreStatus:
        """Say that it is there."""
        return self._STATUS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """How some agents fared, all calling as fast as they can.

    Attributes:
        calls_per_second: Without the first and the last tenth of the calls: all agents start in
            the same moment, which no other moment is like.
    """

    calls_per_second: float
    p50_ms: float
    cpu_ms: float
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """The same work done directly and through the kernel."""

    direct: _Round
    kernel: _Round

    @property
    def added_ms(self) -> float:
        return self.kernel.p50_ms - self.direct.p50_ms


async def _run(repeats: int) -> list[Figure]:
    with TemporaryDirectory() as directory:
        sync_ms = _sync_ms(Path(directory) / "sync")
        async with _open_kernel(Path(directory), MOST_AT_ONCE) as kernel:
            one, most = [
                await _compare(
                    kernel, agents=agents, slots=MOST_AT_ONCE, rounds=20, repeats=repeats
                )
                for agents in (1, MOST_AT_ONCE)
            ]
    with TemporaryDirectory() as directory:
        async with _open_kernel(Path(directory), CROWD_SLOTS) as kernel:
            crowd = await _compare(
                kernel, agents=CROWD, slots=CROWD_SLOTS, rounds=2, repeats=repeats
            )
    return [
        Figure(
            name=f"{CROWD:,} agents on {CROWD_SLOTS} slots of 50 ms, kernel / direct calls",
            value=crowd.kernel.calls_per_second / crowd.direct.calls_per_second,
            unit="x",
            bar=0.95,
            better="higher",
            peer=f"direct: {crowd.direct.calls_per_second:,.0f} calls/s",
        ),
        Figure(
            name=f"threads of the process meanwhile, {CROWD:,} calls under way",
            value=crowd.kernel.threads,
            unit="",
            bar=12,
            peer=f"direct: {crowd.direct.threads}",
        ),
        Figure(
            name="added to one call, 1 agent, p50",
            value=one.added_ms,
            unit="ms",
            bar=3.0,
            peer=f"direct: {one.direct.p50_ms:.1f} ms; this disk: {sync_ms:.2f} ms",
        ),
        Figure(
            name=f"added to one call, {MOST_AT_ONCE} agents at once, p50",
            value=most.added_ms,
            unit="ms",
            bar=10.0,
            peer=f"direct: {most.direct.p50_ms:.1f} ms; CPU time of all:"
            f" {MOST_AT_ONCE * most.kernel.cpu_ms:.0f} ms",
        ),
        Figure(
            name=f"{MOST_AT_ONCE} agents on as many slots through the kernel",
            value=most.kernel.calls_per_second,
            unit="1/s",
            better="higher",
            peer=f"direct: {most.direct.calls_per_second:,.0f} calls/s",
        ),
        Figure(
            name="CPU time added to one call, all threads",
            value=most.kernel.cpu_ms - most.direct.cpu_ms,
            unit="ms",
            peer=f"direct: {most.direct.cpu_ms:.2f} ms",
        ),
    ]


def _sync_ms(path: Path) -> float:
    times: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 8192)
            start = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    return median(times) * 1000


async def _compare(
    kernel: Kernel, *, agents: int, slots: int, rounds: int, repeats: int
) -> _Comparison:
    core, free = SleepyCore(), anyio.CapacityLimiter(slots)
    request = GenerateRequest(messages=(Message("user", "a prompt of five words"),), max_tokens=64)
    call = GenerateCall(request=request)
    direct: list[_Round] = []
    through: list[_Round] = []

    async def ask_core(agent: Agent) -> None:
        del agent
        async with free:
            await core.generate(request, _ignore)

    for _ in range(repeats):
        direct.append(await _measure(agents, rounds, ask_core))
        through.append(
            await _measure(agents, rounds, lambda agent: kernel.llm_generate(agent, call, _ignore))
        )
    return _Comparison(direct=_middle(direct), kernel=_middle(through))


async def _measure(agents: int, rounds: int, ask: Ask) -> _Round:
    times: list[float] = []
    ends: list[float] = []
    threads = 0

    async def call_on(agent: Agent) -> None:
        nonlocal threads
        for _ in range(rounds):
            start = time.perf_counter()
            await ask(agent)
            ends.append(time.perf_counter())
            times.append(ends[-1] - start)
            threads = max(threads, threading.active_count())

    cpu_start = time.process_time()
    async with anyio.create_task_group() as tasks:
        for number in range(agents):
            tasks.start_soon(call_on, _agent(number))
    cpu_seconds = time.process_time() - cpu_start
    tenth = len(ends) // 10
    return _Round(
        calls_per_second=(len(ends) - 2 * tenth) / (ends[-tenth] - ends[tenth]),
        p50_ms=median(times) * 1000,
        cpu_ms=cpu_seconds / len(times) * 1000,
        threads=threads,
    )


def _middle(rounds: Sequence[_Round]) -> _Round:
    return sorted(rounds, key=lambda each: each.calls_per_second)[len(rounds) // 2]


async def _ignore(piece: Piece) -> None:
    del piece


def _agent(number: int) -> Agent:
    return Agent(
        name=f"agent-{number}",
        grants=Grants(tiers=frozenset({"balanced"}), max_tokens=1000),
        # A budget of each kind, so that the ledger holds and settles both.
        allowance=Allowance(tokens_per_day=10**9, micro_usd_per_day=10**9),
    )


@asynccontextmanager
async def _open_kernel(directory: Path, core_slots: int) -> AsyncGenerator[Kernel]:
    ids = itertools.count(1)

    def new_id() -> str:
        return f"{next(ids):026}"

    def now() -> float:
        return NOW

    async with open_database(directory / "aios.db", (JOURNAL,)) as database:
        journal = SqliteJournal(database, now=now)
        await journal.recover()
        slots = {"sleepy": core_slots, MEMORY: 1}
        price = Price(input=0.15, cached_input=0.15, output=0.6)
        core = Core(
            name="sleepy",
            backend="openai",
            llm=SleepyCore(),
            tiers=("balanced",),
            slots=core_slots,
            price=price,
        )
        yield Kernel(
            gate=Gate(journal, digest_key=b"benchmark", now=now, new_id=new_id),
            driver=SchedulerDriver(Scheduler(slots, Fair(), max_waiting=CROWD)),
            cores=Cores([core]),
            catalog=ToolCatalog({}, list_seconds=1.0),
            memories=ListMemories(now=now, new_id=new_id),
            journal=journal,
            waits=Waits(queue=30.0, generate=30.0, tool=30.0, memory=30.0),
            now=now,
        )
