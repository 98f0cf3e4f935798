"""The reference's jobs, and in whose slots nested ones run."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from scheduler import Job, Lane


@dataclass(eq=False)
class Entry:
    job: Job
    arrival: int
    since: float
    parent: "Entry | None" = None
    rank: float = 0.0
    resource: str = ""
    is_waiting: bool = True
    is_over: bool = False
    is_exempt: bool = False
    used: int = 0
    charged: float = 0.0
    lane_charged: int = 0
    ran_seconds: float = 0.0
    lender: "Entry | None" = None
    borrower: "Entry | None" = None

    @property
    def top(self) -> str:
        return self.job.superior or self.job.agent

    @property
    def share(self) -> tuple[str, str]:
        return self.top, self.job.agent

    @property
    def lane(self) -> Lane:
        return min([self.job.lane, *(each.job.lane for each in self.ancestors())])

    @property
    def due(self) -> float:
        dues = [self.job.deadline, *(each.job.deadline for each in self.ancestors())]
        return min((due for due in dues if due is not None), default=math.inf)

    @property
    def is_running(self) -> bool:
        return not self.is_waiting and not self.is_over

    @property
    def choices(self) -> Mapping[str, float]:
        """Where it may run, with handicaps."""
        if self.resource:
            return {self.resource: 0.0}
        job = self.job
        return dict(zip(job.resources, job.handicaps or (0.0,) * len(job.resources), strict=True))

    @property
    def place(self) -> object:
        return ((self.resource,), ()) if self.resource else (self.job.resources, self.job.handicaps)

    def ancestors(self) -> "Iterator[Entry]":
        above = self.parent
        while above is not None:
            yield above
            above = above.parent

    def may_borrow_from(self, above: "Entry") -> bool:
        return above.is_running and above.borrower is None and above.resource in self.job.resources


@dataclass
class Lending:
    """Nested jobs: those that wait in line, and those that may start in a lent slot."""

    in_line: list[Entry] = field(default_factory=list[Entry])
    ready: list[Entry] = field(default_factory=list[Entry])

    def enter(self, entry: Entry) -> None:
        lender = next((each for each in entry.ancestors() if entry.may_borrow_from(each)), None)
        if lender is None:
            above = [each for each in entry.ancestors() if each.is_running]
            entry.is_exempt = any(each.share == entry.share for each in above)
            self.in_line.append(entry)
        else:
            self._lend(lender, entry)

    def forget(self, entry: Entry) -> None:
        """It starts, or leaves before it does."""
        if entry in self.in_line:
            self.in_line.remove(entry)
        if entry in self.ready:
            self.ready.remove(entry)
            assert entry.lender is not None
            self._end(entry.lender)

    def settle(self, entry: Entry) -> None:
        """It ends, and with it what it had borrowed or lent."""
        lender, borrower = entry.lender, entry.borrower
        entry.lender = entry.borrower = None
        if borrower is not None and borrower.is_running:
            borrower.lender = lender
            if lender is not None:
                lender.borrower = borrower
            return
        if lender is not None:
            self._end(lender)
        if borrower is not None:
            self.ready.remove(borrower)
            borrower.lender = None
            self.enter(borrower)

    def _end(self, lender: Entry) -> None:
        lender.borrower = None
        fitting = [
            each
            for each in self.in_line
            if lender in each.ancestors() and each.may_borrow_from(lender)
        ]
        if fitting:
            self.in_line.remove(fitting[0])
            self._lend(lender, fitting[0])

    def _lend(self, lender: Entry, entry: Entry) -> None:
        lender.borrower, entry.lender, entry.is_exempt = entry, lender, True
        self.ready.append(entry)
