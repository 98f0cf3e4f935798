"""A line of waiting jobs that may run on the same resources."""

import heapq
from dataclasses import dataclass

from scheduler.jobs import Job


@dataclass(slots=True, eq=False)
class Ticket:
    """A job's place in line. A dead ticket stays in its heap until it surfaces."""

    job: Job
    rank: float
    arrival: int
    submitted: float
    is_alive: bool = True

    def __lt__(self, other: "Ticket") -> bool:
        return (self.rank, self.arrival) < (other.rank, other.arrival)


class Line:
    """Tickets in order of rank, then arrival. Push and pop cost O(log n), removal O(1).

    Invariant: `len(line)` counts live tickets only, and `head` is the least of them
    (`tests/scheduler/test_properties.py`).
    """

    def __init__(self) -> None:
        self._heap: list[Ticket] = []
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def push(self, ticket: Ticket) -> None:
        """Put a live ticket in line."""
        heapq.heappush(self._heap, ticket)
        self._live += 1

    def head(self) -> Ticket | None:
        """Give the first ticket without taking it."""
        while self._heap and not self._heap[0].is_alive:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def pop(self) -> Ticket:
        """Take the first ticket. The line must not be empty."""
        ticket = self.head()
        assert ticket is not None
        heapq.heappop(self._heap)
        self._live -= 1
        return ticket

    def drop(self, ticket: Ticket) -> None:
        """Take a ticket out of line, wherever it stands in it."""
        ticket.is_alive = False
        self._live -= 1
        if len(self._heap) > 64 and self._live < len(self._heap) // 4:
            self._heap = [kept for kept in self._heap if kept.is_alive]
            heapq.heapify(self._heap)

    def count_before(self, ticket: Ticket) -> int:
        """Count the live tickets in front of one. O(n): for people, not for decisions."""
        return sum(1 for other in self._heap if other.is_alive and other < ticket)
