"""Vocabulary of the scheduler: jobs that wait, grants that let them run, reasons to refuse."""

import enum
from dataclasses import dataclass


class Lane(enum.IntEnum):
    """Service class; a lower value is served first by policies that look at it."""

    URGENT = 0
    NORMAL = 1
    BATCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request for one slot on one of several resources.

    Attributes:
        id: Unique among live jobs.
        agent: Owner, the unit of fairness.
        resources: Resources able to run it, in order of preference; never empty.
        lane: Service class.
        cost: Estimated work, in tokens for LLM work, 1 where tokens mean nothing; at least 0.
        deadline: Time after which it must not start, on the clock of `now`; None for none.
        group: The agent's concurrency limit counts jobs of one group together.
        agent_limit: Most jobs of this agent and group that may run at once; None for no limit.
    """

    id: str
    agent: str
    resources: tuple[str, ...]
    lane: Lane = Lane.NORMAL
    cost: int = 1
    deadline: float | None = None
    group: str = ""
    agent_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave for one job to use one slot of one resource."""

    job: Job
    resource: str


class SchedulerError(Exception):
    """A job was not let in, or not in time."""


class QueueFullError(SchedulerError):
    """A line is at its bound.

    Attributes:
        limit: Jobs that may wait in that line.
        retry_after_seconds: When a place is likely to be free.
    """

    def __init__(self, whose: str, *, limit: int, retry_after_seconds: float) -> None:
        super().__init__(f"{whose} has {limit} calls waiting, which is its limit; try again later")
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


class DeadlineMissedError(SchedulerError):
    """The job's deadline passed before a slot was free."""

    def __init__(self, waited_seconds: float) -> None:
        super().__init__(f"no slot was free within {waited_seconds:.1f} s, the call's deadline")
        self.waited_seconds = waited_seconds


class NoResourceError(SchedulerError):
    """None of the job's resources exists."""
