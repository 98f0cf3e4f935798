"""Who asks for what, and when: seeded loads to put on a core."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from scheduler import Lane

Range = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One call: what it says it may need, and what it will need.

    Attributes:
        agent: Who asks.
        prompt: Tokens of the prompt.
        output: Tokens of the answer.
        most: `max_tokens` of the call, which is all that the scheduler knows.
        lane: Service class.
        program: Calls of one agent loop have one name, and share the beginning of their prompts.
        turns: How many calls the loop will have made; the scheduler does not know.
    """

    agent: str
    prompt: int
    output: int
    most: int
    lane: Lane = Lane.NORMAL
    program: str = ""
    turns: int = 1


@dataclass(frozen=True, slots=True)
class Arrival:
    """A call to be made."""

    at: float
    ask: Ask


class Load(Protocol):
    """One source of calls."""

    def begin(self, rng: random.Random, seconds: float, /) -> list[Arrival]:
        """Give the calls that come whatever happens."""
        ...

    def after(self, ask: Ask, now: float, rng: random.Random, /) -> list[Arrival]:
        """Give the calls that follow the end of one of its own."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """An agent with a number of calls outstanding, always."""

    agent: str
    outstanding: int
    prompt: Range
    output: Range
    most: int
    begins: float = 0.0
    lane: Lane = Lane.NORMAL

    def begin(self, rng: random.Random, seconds: float, /) -> list[Arrival]:
        """Ask for all of them at once."""
        del seconds
        return [Arrival(self.begins, self._ask(rng)) for _ in range(self.outstanding)]

    def after(self, ask: Ask, now: float, rng: random.Random, /) -> list[Arrival]:
        """Ask for one more."""
        del ask
        return [Arrival(now, self._ask(rng))]

    def _ask(self, rng: random.Random) -> Ask:
        return _ask(self.agent, self.prompt, self.output, self.most, self.lane, rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """An agent whose calls come at random, whether or not those before have ended.

    Attributes:
        per_second: Mean rate of a Poisson process.
        on_seconds: Length of a burst; 0 for no bursts.
        off_seconds: Silence after each burst.
    """

    agent: str
    per_second: float
    prompt: Range
    output: Range
    most: int
    lane: Lane = Lane.NORMAL
    on_seconds: float = 0.0
    off_seconds: float = 0.0

    def begin(self, rng: random.Random, seconds: float, /) -> list[Arrival]:
        """Ask at the times of a Poisson process."""
        period = self.on_seconds + self.off_seconds
        return [
            Arrival(at, _ask(self.agent, self.prompt, self.output, self.most, self.lane, rng))
            for at in _poisson(self.per_second, seconds, rng)
            if not self.on_seconds or at % period < self.on_seconds
        ]

    def after(self, ask: Ask, now: float, rng: random.Random, /) -> list[Arrival]:
        """Ask for nothing."""
        del ask, now, rng
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Agent loops that come at random: a model call, a tool call, the next model call, and so on.

    Four of five are short; the others have many turns (a heavy tail). Each turn's prompt is the
    context so far and what the tool gave back. While the tool works the loop holds no slot.

    Attributes:
        per_second: Mean rate of new loops.
        tenants: Agents that run them in turns; 0 gives each loop an agent of its own.
    """

    per_second: float
    tenants: int = 0
    short: Range = (2, 4)
    long: Range = (12, 30)
    prompt: Range = (400, 1200)
    output: Range = (40, 200)
    found: Range = (100, 600)
    most: int = 256
    tool_seconds: float = 1.0
    _left: dict[str, int] = field(default_factory=dict[str, int])
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def begin(self, rng: random.Random, seconds: float, /) -> list[Arrival]:
        """Begin the loops."""
        return [Arrival(at, self._first(rng)) for at in _poisson(self.per_second, seconds, rng)]

    def after(self, ask: Ask, now: float, rng: random.Random, /) -> list[Arrival]:
        """Go on with a loop, once its tool has answered."""
        self._left[ask.program] -= 1
        if not self._left[ask.program]:
            return []
        following = Ask(
            agent=ask.agent,
            prompt=ask.prompt + ask.output + rng.randint(*self.found),
            output=rng.randint(*self.output),
            most=self.most,
            program=ask.program,
            turns=ask.turns,
        )
        return [Arrival(now + rng.expovariate(1 / self.tool_seconds), following)]

    def _first(self, rng: random.Random) -> Ask:
        number = next(self._numbers)
        program = f"program{number}"
        turns = rng.randint(*(self.short if rng.random() < 0.8 else self.long))
        self._left[program] = turns
        return Ask(
            agent=f"tenant{number % self.tenants}" if self.tenants else program,
            prompt=rng.randint(*self.prompt),
            output=rng.randint(*self.output),
            most=self.most,
            program=program,
            turns=turns,
        )


def _ask(
    agent: str, prompt: Range, output: Range, most: int, lane: Lane, rng: random.Random
) -> Ask:
    return Ask(
        agent=agent,
        prompt=rng.randint(*prompt),
        output=rng.randint(*output),
        most=most,
        lane=lane,
    )


def _poisson(per_second: float, seconds: float, rng: random.Random) -> Iterator[float]:
    at = rng.expovariate(per_second)
    while at < seconds:
        yield at
        at += rng.expovariate(per_second)
