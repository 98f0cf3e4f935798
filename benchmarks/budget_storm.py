"""How exactly a budget is kept: 1,000 calls at once, 64 of them at work, in the real ledger."""

import itertools
import random
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from aios_mcp.errors import BudgetExceededError
from aios_mcp.kernel import Agent, Allowance, Grants, Kernel
from aios_mcp.kernel.calls import GenerateCall
from aios_mcp.kernel.cores import FREE, Core, Cores
from aios_mcp.kernel.estimates import worst_usage
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

WORKERS = 64
CALLS = 1000
BUDGET_TOKENS = 60_000
PROMPT = "Be brief."
MOST_TOKENS = (8, 64, 512)
CALL_SECONDS = 0.002
NOW = 1_790_000_000.0


class VariedCore:
    """Uses some part of the tokens that it may, and a little time."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        """Answer with so many tokens as it draws."""
        del turn
        wanted = max(1, round(self._rng.betavariate(2, 3) * request.max_tokens))
        await anyio.sleep(CALL_SECONDS)
        await emit(Piece("text", wanted))
        return Completion("text", "stop", Usage(input_tokens=10, output_tokens=wanted))

    def status(self) -> CoreStatus:
        """Say that it is there."""
        return CoreStatus(model="varied", state="ready")


@dataclass(slots=True)
class _Storm:
    """What became of the calls; of those refused, the most that each might have cost."""

    answered: int = 0
    cut_short: int = 0
    refused: list[int] = field(default_factory=list[int])
    spent: int = 0

    @property
    def falsely_refused(self) -> int:
        return sum(wanted <= BUDGET_TOKENS - self.spent for wanted in self.refused)


async def budget_figures() -> list[Figure]:
    """Spend a budget in a storm of calls."""
    storm = await _spend()
    return [
        Figure(
            name=f"a budget, {CALLS:,} calls at once, {WORKERS} at work: overspent",
            value=max(0, storm.spent - BUDGET_TOKENS),
            unit="tokens",
            bar=0.0,
        ),
        Figure(
            name="the same, part of the budget that was used",
            value=100 * storm.spent / BUDGET_TOKENS,
            unit="%",
            bar=99.9,
            better="higher",
        ),
        Figure(
            name="the same, calls refused that would have fitted",
            value=storm.falsely_refused,
            unit="calls",
            bar=0.0,
            peer=f"{len(storm.refused)} refused",
        ),
        Figure(
            name="the same, answers cut short",
            value=100 * storm.cut_short / storm.answered,
            unit="%",
            bar=8.0,
            peer=f"{storm.answered} answered",
        ),
    ]


async def _spend() -> _Storm:
    storm = _Storm()
    agent = Agent(
        name="ada",
        grants=Grants(tiers=frozenset({"balanced"}), max_tokens=max(MOST_TOKENS)),
        allowance=Allowance(tokens_per_day=BUDGET_TOKENS),
    )
    rng = random.Random(1)
    with TemporaryDirectory() as directory:
        async with open_database(Path(directory) / "aios.db", (JOURNAL,)) as database:
            journal = SqliteJournal(database, now=lambda: NOW)
            await journal.recover()
            kernel = _kernel(journal)
            async with anyio.create_task_group() as tasks:
                for _ in range(CALLS):
                    tasks.start_soon(_ask, kernel, agent, rng.choice(MOST_TOKENS), storm)
            storm.spent = (await kernel.usage(agent)).tokens
    return storm


async def _ask(kernel: Kernel, agent: Agent, most: int, storm: _Storm) -> None:
    call = GenerateCall(
        request=GenerateRequest(messages=(Message("user", PROMPT),), max_tokens=most)
    )
    try:
        answer = await kernel.llm_generate(agent, call, _ignore)
    except BudgetExceededError:
        storm.refused.append(worst_usage(call).total)
        return
    storm.answered += 1
    storm.cut_short += answer.finish_reason == "length"


async def _ignore(piece: Piece) -> None:
    del piece


def _kernel(journal: SqliteJournal) -> Kernel:
    ids = itertools.count(1)

    def new_id() -> str:
        return f"{next(ids):026}"

    core = Core(
        name="varied",
        backend="llama_cpp",
        llm=VariedCore(seed=1),
        tiers=("balanced",),
        slots=WORKERS,
        price=FREE,
    )
    slots = {core.name: WORKERS, MEMORY: 1}
    scheduler = Scheduler(slots, Fair(), max_waiting=CALLS, max_waiting_per_agent=CALLS)
    return Kernel(
        gate=Gate(journal, digest_key=b"benchmark", now=lambda: NOW, new_id=new_id),
        driver=SchedulerDriver(scheduler),
        cores=Cores([core]),
        catalog=ToolCatalog({}, list_seconds=1.0),
        memories=ListMemories(now=lambda: NOW, new_id=new_id),
        journal=journal,
        waits=Waits(queue=60.0, generate=60.0, tool=60.0, memory=60.0),
        now=lambda: NOW,
    )
