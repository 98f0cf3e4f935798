"""The figures that the simulator answers for: what the policies give, against arrival order."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.simulator import workloads
from benchmarks.simulator.core import GPU, OUTPUT_WEIGHT, PROMPT_WEIGHT
from benchmarks.simulator.loads import Ask
from benchmarks.simulator.record import Record, jain, p
from benchmarks.simulator.simulation import simulate
from scheduler import Lane
from scheduler.policies import Fair, Fifo, Policy, Priority

AGEING_SECONDS = 10.0
WARM_UP_SECONDS = 30.0
BUSY_SECONDS = 600.0
WEIGHTS = {"agent0": 1.0, "agent1": 2.0, "agent2": 4.0}

Make = Callable[[], Policy]


@dataclass(frozen=True, slots=True)
class Span:
    """How long each workload is simulated, and with how many seeds."""

    seconds: float
    seeds: int

    def mean(self, measure: Callable[[int], float]) -> float:
        """Give the mean of a measure over the seeds."""
        return sum(measure(seed) for seed in range(1, self.seeds + 1)) / self.seeds


def simulated_figures(*, quick: bool) -> list[Figure]:
    """Simulate every workload that has a bar."""
    span = Span(seconds=300.0, seeds=1) if quick else Span(seconds=600.0, seeds=3)
    return [
        *_hog(span),
        *_busy(span),
        *_newcomers(span),
        _ageing(span),
        *_programs(span),
    ]


def is_polite(ask: Ask) -> bool:
    """Tell the agents that wait for a hog."""
    return ask.agent.startswith(workloads.POLITE)


def is_short(ask: Ask) -> bool:
    """Tell the agent loops that end soon."""
    return ask.turns <= workloads.SHORT_TURNS


def _hog(span: Span) -> list[Figure]:
    def first(make: Make, seed: int) -> tuple[float, float]:
        record = simulate(make(), workloads.hog_and_polite(), seconds=span.seconds, seed=seed)
        return p(99, record.first_token_seconds(is_polite)), record.finished_tokens_per_second

    fifo = [first(Fifo, seed) for seed in range(1, span.seeds + 1)]
    fair = [first(Fair, seed) for seed in range(1, span.seeds + 1)]
    fifo_wait, fair_wait = (sum(wait for wait, _ in each) / span.seeds for each in (fifo, fair))
    fifo_rate, fair_rate = (sum(rate for _, rate in each) / span.seeds for each in (fifo, fair))
    return [
        Figure(
            name="a hog and 9 polite agents, first token of the polite at p99: fifo / fair",
            value=fifo_wait / fair_wait,
            unit="x",
            bar=50.0,
            better="higher",
            peer=f"fifo {fifo_wait:.1f} s, fair {fair_wait:.2f} s",
        ),
        Figure(
            name="the same, work finished: fair / fifo",
            value=fair_rate / fifo_rate,
            unit="x",
            bar=0.98,
            better="higher",
            peer=f"fifo {fifo_rate:,.0f} tokens/s",
        ),
    ]


def _busy(span: Span) -> list[Figure]:
    loads = workloads.all_busy()
    fifo = simulate(Fifo(), loads, seconds=span.seconds)
    fair = simulate(Fair(), loads, seconds=BUSY_SECONDS)
    weighted = simulate(Fair(WEIGHTS), workloads.alike(len(WEIGHTS)), seconds=span.seconds)
    by_weight = list(weighted.shares(WARM_UP_SECONDS, WEIGHTS).values())
    shares, arrival = (list(each.shares(WARM_UP_SECONDS).values()) for each in (fair, fifo))
    return [
        Figure(
            name="10 always busy agents of unequal size, fair: Jain's index of the tokens",
            value=jain(shares),
            unit="",
            bar=0.999,
            better="higher",
            peer=f"fifo {jain(arrival):.3f}",
        ),
        Figure(
            name="the same, least / largest share",
            value=min(shares) / max(shares),
            unit="x",
            bar=0.97,
            better="higher",
            peer=f"fifo {min(arrival) / max(arrival):.3f} x",
        ),
        Figure(
            name="the same, widest gap of two agents over any span of time",
            value=fair.widest_gap(WARM_UP_SECONDS),
            unit="tokens",
            bar=float(gap_bound(fair, GPU.slots)),
            peer=f"fifo {fifo.widest_gap(WARM_UP_SECONDS):,.0f} tokens",
        ),
        Figure(
            name="shares of 1, 2 and 4: least / largest of tokens by share",
            value=min(by_weight) / max(by_weight),
            unit="x",
            bar=0.97,
            better="higher",
        ),
    ]


def gap_bound(record: Record, slots: int) -> int:
    """Give how far two busy agents may be apart, by Y. Sheng and others, 2024.

    Twice the larger of the longest prompt and of all answers that can be in the making at once.
    """
    prompt = max(each.ask.prompt for each in record.lives)
    output = max(each.ask.output for each in record.lives)
    return 2 * max(PROMPT_WEIGHT * prompt, OUTPUT_WEIGHT * slots * output)


def _newcomers(span: Span) -> list[Figure]:
    def ratio(outstanding: int) -> float:
        def one(seed: int) -> float:
            record = simulate(
                Fair(), workloads.newcomer(outstanding=outstanding), seconds=180.0, seed=seed
            )
            shares = record.shares(workloads.NEWCOMER_SECONDS)
            return shares["newcomer"] / shares["incumbent"]

        return span.mean(one)

    figures: list[Figure] = []
    for outstanding, what in ((64, "queued"), (16, "running, none queued")):
        measured = ratio(outstanding)
        name = f"service of a newcomer / an incumbent, whose calls are {what}"
        figures.append(Figure(name=name, value=measured, unit="x", bar=1.15))
        figures.append(
            Figure(name="the same, at least", value=measured, unit="x", bar=0.9, better="higher")
        )
    return figures


def _ageing(span: Span) -> Figure:
    loads = workloads.overload()
    fifo = simulate(Fifo(), loads, seconds=span.seconds)
    aged = simulate(Priority(AGEING_SECONDS), loads, seconds=span.seconds)
    arrival = max(each.granted - each.asked for each in fifo.lives if each.granted is not None)
    low = max(
        (aged.seconds if each.granted is None else each.granted) - each.asked
        for each in aged.lives
        if each.ask.lane is Lane.BATCH
    )
    return Figure(
        name="ageing under overload: longest wait of the lowest lane / its bound",
        value=low / (arrival + Lane.BATCH * AGEING_SECONDS),
        unit="x",
        bar=1.0,
        peer=f"fifo {arrival:.0f} s, and {Lane.BATCH * AGEING_SECONDS:.0f} s of ageing",
    )


def _programs(span: Span) -> list[Figure]:
    def turnaround(make: Make, seed: int) -> tuple[float, float, float]:
        record = simulate(make(), workloads.agent_programs(), seconds=600.0, seed=seed)
        everyone = record.program_seconds()
        long = record.program_seconds(lambda ask: not is_short(ask))
        return (
            sum(everyone) / len(everyone),
            p(90, record.program_seconds(is_short)),
            sum(long) / len(long),
        )

    runs = {
        make: [turnaround(make, seed) for seed in range(1, span.seeds + 1)] for make in (Fifo, Fair)
    }
    fifo, fair = (
        [sum(column) / span.seeds for column in zip(*runs[make], strict=True)]
        for make in (Fifo, Fair)
    )
    names = (
        ("agent loops, turnaround, mean: fair / fifo", 0.75),
        ("the same, short loops at p90", 0.35),
        ("the same, long loops, mean", None),
    )
    return [
        Figure(
            name=name,
            value=ours / theirs,
            unit="x",
            bar=bar,
            peer=f"fifo {theirs:.1f} s, fair {ours:.1f} s",
        )
        for (name, bar), ours, theirs in zip(names, fair, fifo, strict=True)
    ]
