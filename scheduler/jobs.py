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
        prompt: The part of the work that comes first and may weigh less: a prompt's tokens.
        deadline: Time after which it must not start, on the clock of `now`; None for none.
        group: The agent's concurrency limit and its share count jobs of one group together.
        agent_limit: Most jobs of this agent and group that may run at once; None for no limit.
        affinity: Jobs with the same key profit from the same resource.
        handicaps: Seconds added to each resource's predicted wait, for price and locality; as many
            as resources, or none.
        parent: The live job on whose behalf this one runs: it inherits what is more urgent of that
            one's lane and deadline, is let in past the bound of its agent's line, and runs in that
            one's slot where both need the same resource. Its work is charged to its own agent.
        superior: The agent of which this one is a sub-agent: all of them have one share.
        program: Jobs of one conversation or agent loop; those that have had less go first.
    """

    id: str
    agent: str
    resources: tuple[str, ...]
    lane: Lane = Lane.NORMAL
    cost: int = 1
    prompt: int = 0
    deadline: float | None = None
    group: str = ""
    agent_limit: int | None = None
    affinity: str = ""
    handicaps: tuple[float, ...] = ()
    parent: str = ""
    superior: str = ""
    program: str = ""


class Grant:
    """Leave for one job to use one slot of one resource."""

    __slots__ = ("job", "resource")

    def __init__(self, job: Job, resource: str) -> None:
        self.job = job
        self.resource = resource


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


class DeadlineUnreachableError(SchedulerError):
    """The line is so long that the job's deadline would pass before a slot is free.

    Attributes:
        retry_after_seconds: When the line is likely to be short enough.
    """

    def __init__(self, *, wait_seconds: float, left_seconds: float) -> None:
        super().__init__(
            f"the wait for a slot is {wait_seconds:.1f} s at the speed of late, and the call's"
            f" deadline is in {max(0.0, left_seconds):.1f} s; try again later"
        )
        self.retry_after_seconds = round(max(0.1, wait_seconds - left_seconds), 1)


class NestingTooDeepError(SchedulerError):
    """Jobs run on behalf of jobs on behalf of jobs, beyond the bound."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"calls are nested more than {limit} deep; end some before making others")
        self.limit = limit


class NoResourceError(SchedulerError):
    """None of the job's resources exists."""
