"""Live jobs, and an agent's queue of them."""

import math
from heapq import heapify, heappop

from scheduler.jobs import Job, Lane
from scheduler.shares import Share

Key = tuple[float, float]
"""Place of a queue among those of a line; the smallest goes first."""


class Place:
    """What the jobs of a line have in common: resources, their handicaps, and the lane.

    Equal ones are the same one (`Lines.place`), so that nothing is hashed to find a line.
    """

    __slots__ = ("band", "handicaps", "resources")

    def __init__(self, resources: tuple[str, ...], handicaps: tuple[float, ...], band: int) -> None:
        self.resources = resources
        self.handicaps = handicaps
        self.band = band


class Ticket:
    """A live job: its place in line, or what it has done in its slot.

    Attributes:
        arrival: How many jobs were submitted before it.
        rank: Its place among its agent's jobs; equals go by arrival.
        lane: Its service class, inherited from its parent where that is more urgent.
        band: The lane that it stands in; 0 where one policy orders all lanes together.
        due: When it must have started, inherited likewise.
        since: When it began to wait or to run.
        is_waiting: It stands in line; otherwise it holds a slot.
        has_started: It held a slot before, and was paused if it waits.
        is_asked: Its slot was asked back.
        is_exempt: An ancestor of the same owner runs, so that it is not counted towards the limit.
        is_over: It has left.
        used: Units of work done so far.
        used_before: How many of them before it got its present slot.
        charged: What its share was charged for it, in units of the policy.
        lane_charged: What its lane was charged for it, in units of work.
        place: The line that it stands in.
        queue: Its queue there; None while it does not stand in one.
        lender: The ancestor in whose slot it runs.
        borrower: The job that runs in its slot.
    """

    __slots__ = (
        "arrival",
        "band",
        "borrower",
        "charged",
        "due",
        "has_started",
        "is_asked",
        "is_exempt",
        "is_over",
        "is_waiting",
        "job",
        "lane",
        "lane_charged",
        "lender",
        "parent",
        "place",
        "queue",
        "ran_seconds",
        "rank",
        "resource",
        "share",
        "since",
        "used",
        "used_before",
    )

    def __init__(
        self,
        job: Job,
        share: Share,
        arrival: int,
        now: float,
        place: Place,
        parent: "Ticket | None" = None,
    ) -> None:
        self.job = job
        self.place = place
        self.band = place.band
        self.share = share
        self.arrival = arrival
        self.since = now
        self.parent = parent
        self.lane: Lane = job.lane
        self.due = math.inf if job.deadline is None else job.deadline
        self.rank = 0.0
        self.resource = ""
        self.queue: Queue | None = None
        self.is_waiting = True
        self.has_started = self.is_asked = self.is_exempt = self.is_over = False
        self.used = self.used_before = self.lane_charged = 0
        self.charged = self.ran_seconds = 0.0
        self.lender: Ticket | None = None
        self.borrower: Ticket | None = None
        if parent is not None:
            self.lane = min(self.lane, parent.lane)
            self.due = min(self.due, parent.due)

    @property
    def ran(self) -> int:
        """Units of work done in its present slot."""
        return self.used - self.used_before

    @property
    def is_running(self) -> bool:
        """Whether it holds a slot."""
        return not self.is_waiting and not self.is_over

    @property
    def is_alone(self) -> bool:
        """Whether its slot can be asked back: no nested job runs in it, and it was not asked."""
        return self.lender is None and self.borrower is None and not self.is_asked

    def has_owner_of(self, other: "Ticket") -> bool:
        """Whether another job counts towards the same limit, in whatever lane."""
        mine, its = self.job, other.job
        return (mine.agent, mine.superior, mine.group) == (its.agent, its.superior, its.group)

    def may_borrow_from(self, above: "Ticket") -> bool:
        """Whether it may run in an ancestor's slot, which stands still meanwhile."""
        return above.is_running and above.borrower is None and above.resource in self.job.resources

    def ancestors(self) -> "list[Ticket]":
        """Give the job on whose behalf this one runs, and those above it."""
        found: list[Ticket] = []
        above = self.parent
        while above is not None:
            found.append(above)
            above = above.parent
        return found


class Queue:
    """The tickets of one share in one line. Entries of the line with another version are void.

    Attributes:
        is_exempt: They do not count towards the limit of their agent.
    """

    __slots__ = ("heap", "is_exempt", "live", "share", "version")

    def __init__(self, share: Share, *, is_exempt: bool) -> None:
        self.share = share
        self.is_exempt = is_exempt
        self.heap: list[tuple[float, int, Ticket]] = []
        self.live = 0
        self.version = 0

    def head(self) -> Ticket | None:
        """Give the first ticket without taking it."""
        heap = self.heap
        while heap and heap[0][2].queue is not self:
            heappop(heap)
        return heap[0][2] if heap else None

    def compact(self) -> None:
        """Throw out the entries of tickets that have left."""
        self.heap = [entry for entry in self.heap if entry[2].queue is self]
        heapify(self.heap)

    def in_order(self) -> list[tuple[float, int, Ticket]]:
        """Give the live tickets with rank and arrival, first to last."""
        return sorted(entry for entry in self.heap if entry[2].queue is self)
