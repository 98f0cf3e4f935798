"""Every workload under every policy, as rows of a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.simulator import workloads
from benchmarks.simulator.loads import Ask, Load
from benchmarks.simulator.record import Record, jain, p
from benchmarks.simulator.simulation import simulate
from scheduler import Lane, Lanes
from scheduler.policies import Deadline, Fair, Fifo, Policy, Priority, RoundRobin

AGEING_SECONDS = 10.0

POLICIES: Final[Mapping[str, Callable[[], Policy | Lanes]]] = {
    "fifo": Fifo,
    "round_robin": RoundRobin,
    "priority": lambda: Priority(AGEING_SECONDS),
    "deadline": Deadline,
    "fair": Fair,
    "lanes": lambda: Lanes({lane: Fair() for lane in Lane}),
}


@dataclass(frozen=True, slots=True)
class Workload:
    """One load, in a sentence, and whose waiting is of interest."""

    says: str
    loads: Callable[[], Sequence[Load]]
    of_interest: Callable[[Ask], bool] = lambda ask: True


WORKLOADS: Final[Mapping[str, Workload]] = {
    "hog": Workload(
        "one agent with 64 long calls outstanding, nine that chat; waits are the chatters'",
        workloads.hog_and_polite,
        lambda ask: ask.agent.startswith(workloads.POLITE),
    ),
    "busy": Workload("ten always busy agents of unequal size", workloads.all_busy),
    "newcomer": Workload(
        "an agent comes after a minute and asks for as much as the first one; waits are its own",
        lambda: workloads.newcomer(outstanding=64),
        lambda ask: ask.agent == "newcomer",
    ),
    "overload": Workload(
        "urgent work beyond what the core can do, and a little batch work; waits are the latter's",
        workloads.overload,
        lambda ask: ask.agent == "batch",
    ),
    "programs": Workload(
        "agent loops with tools, heavy tail; waits are those of the first calls of short loops",
        workloads.agent_programs,
        lambda ask: ask.turns <= workloads.SHORT_TURNS,
    ),
    "bursts": Workload("six agents in bursts of ten seconds", workloads.bursts),
    "tiny": Workload("two hundred agents with tiny calls", workloads.many_tiny),
    "long": Workload(
        "prompts of 12,000 tokens beside chat; waits are the chatters'",
        workloads.long_context,
        lambda ask: ask.agent.startswith(workloads.POLITE),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One policy under one workload; seconds of the calls of interest."""

    policy: str
    record: Record
    first_seconds: tuple[float, ...]

    @property
    def row(self) -> tuple[str, ...]:
        """Give the cells of its row."""
        record, waits = self.record, self.first_seconds
        shares = list(record.shares(0.0).values())
        loops = record.program_seconds()
        needed = sum(each.ask.prompt + each.ask.output for each in record.lives if each.ended)
        return (
            self.policy,
            f"{p(50, waits):.2f}",
            f"{p(99, waits):.2f}",
            f"{record.finished_tokens_per_second:,.0f}",
            f"{jain(shares):.3f}",
            f"{sum(loops) / len(loops):.1f}" if loops else "",
            f"{record.computed_tokens / needed:.2f}" if needed else "",
            f"{sum(each.pauses for each in record.lives):,}",
        )


HEAD: Final = (
    "policy",
    "first token p50, s",
    "p99, s",
    "finished tokens/s",
    "Jain",
    "loop, s",
    "computed / needed",
    "pauses",
)


def compare(workload: Workload, *, seconds: float, seed: int) -> list[Result]:
    """Run one workload under every policy."""
    results: list[Result] = []
    for name, make in POLICIES.items():
        record = simulate(make(), workload.loads(), seconds=seconds, seed=seed)
        waits = tuple(record.first_token_seconds(workload.of_interest))
        results.append(Result(policy=name, record=record, first_seconds=waits))
    return results


def table(results: Sequence[Result]) -> str:
    """Lay results out for a terminal."""
    rows = [HEAD, *(each.row for each in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(
            cell.rjust(w) if n else cell.ljust(w)
            for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
