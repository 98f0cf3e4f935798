"""What happened in a simulation, and the measures that are read from it."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from benchmarks.simulator.loads import Ask


@dataclass(slots=True, kw_only=True)
class Life:
    """The times of one call, in simulated seconds; None is not reached."""

    ask: Ask
    asked: float
    granted: float | None = None
    first: float | None = None
    ended: float | None = None
    pauses: int = 0


@dataclass(slots=True)
class Served:
    """Tokens by their weight that one agent was given, as a curve over time."""

    times: list[float] = field(default_factory=lambda: [0.0])
    tokens: list[int] = field(default_factory=lambda: [0])

    def add(self, tokens: int, now: float) -> None:
        """Count tokens given just now."""
        self.times.append(now)
        self.tokens.append(self.tokens[-1] + tokens)

    def between(self, start: float, end: float) -> int:
        """Give the tokens of a span of time."""
        return self._until(end) - self._until(start)

    def _until(self, time: float) -> int:
        return self.tokens[bisect_right(self.times, time) - 1]


@dataclass(slots=True, kw_only=True)
class Record:
    """A simulation from its start to its end.

    Attributes:
        seconds: Simulated time.
        lives: All calls.
        served: By agent.
        computed_tokens: What the core computed, including what it had lost.
    """

    seconds: float
    lives: list[Life] = field(default_factory=list[Life])
    served: dict[str, Served] = field(default_factory=dict[str, Served])
    computed_tokens: int = 0

    @property
    def finished_tokens_per_second(self) -> float:
        """Tokens of the calls that ended, per second."""
        tokens = sum(each.ask.prompt + each.ask.output for each in self.lives if each.ended)
        return tokens / self.seconds

    def first_token_seconds(self, of: Callable[[Ask], bool] = lambda _: True) -> list[float]:
        """Give the times to the first token; of calls that never had one, how long they waited."""
        return [
            (self.seconds if each.first is None else each.first) - each.asked
            for each in self.lives
            if of(each.ask)
        ]

    def program_seconds(self, of: Callable[[Ask], bool] = lambda _: True) -> list[float]:
        """Give the turnaround of the programs, those that did not end at their age."""
        spans: dict[str, tuple[float, float]] = {}
        for each in self.lives:
            if each.ask.program and of(each.ask):
                start, _ = spans.get(each.ask.program, (each.asked, 0.0))
                ended = self.seconds if each.ended is None else each.ended
                spans[each.ask.program] = (start, ended)
        return [end - start for start, end in spans.values()]

    def shares(self, start: float, weights: Mapping[str, float] | None = None) -> dict[str, float]:
        """Give what each agent was given after some time, divided by its weight."""
        return {
            name: served.between(start, self.seconds) / (weights or {}).get(name, 1.0)
            for name, served in self.served.items()
        }

    def widest_gap(self, start: float, *, samples: int = 400) -> float:
        """Give the largest difference of two agents' tokens over any span of time.

        Y. Sheng and others, Fairness in Serving Large Language Models, 2024, bound it for agents
        that always have work waiting.
        """
        step = (self.seconds - start) / samples
        times = [start + number * step for number in range(samples + 1)]
        curves = [[served.between(0, at) for at in times] for served in self.served.values()]
        widest = 0
        for number, one in enumerate(curves):
            for other in curves[:number]:
                leads = [mine - theirs for mine, theirs in zip(one, other, strict=True)]
                widest = max(widest, max(leads) - min(leads))
        return widest


def p(percent: int, values: Sequence[float]) -> float:
    """Give a percentile."""
    return quantiles(values, n=100)[percent - 1] if len(values) > 1 else values[0]


def jain(values: Sequence[float]) -> float:
    """Give the fairness index of R. Jain, D. Chiu and W. Hawe, 1984: 1 is all equal."""
    return sum(values) ** 2 / (len(values) * sum(each * each for each in values))
