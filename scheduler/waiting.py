"""Lines of waiting jobs: one for each set of resources and lane, in it a queue for each agent.

A line is a heap of queues by their heads; a queue is a heap of tickets. Cancelled tickets and keys
that have become too low stay in their heap until they surface, so that nothing is ever sorted anew.
"""

from collections.abc import Collection, Mapping
from heapq import heapify, heappop, heappush, heapreplace
from itertools import repeat

from scheduler.policies.base import Policy
from scheduler.resources import Resource
from scheduler.shares import Share
from scheduler.tickets import Place, Queue, Ticket

_SPARE = 64


class Choice:
    """A resource that the jobs of a line can run on, and the seconds by which it is handicapped."""

    __slots__ = ("handicap", "resource")

    def __init__(self, resource: Resource, handicap: float) -> None:
        self.resource = resource
        self.handicap = handicap


class Line:
    """Jobs that may run on the same resources, with the same handicaps.

    Invariants (`tests/scheduler/test_properties.py`): `len(line)` counts live tickets; `head` is
    the first ticket of the queue whose head has the least key, equals by arrival, among those that
    are not held back.
    """

    def __init__(self, place: Place, resources: Mapping[str, Resource], policy: Policy) -> None:
        self.place = place
        self.choices = tuple(
            Choice(resources[name], handicap)
            for name, handicap in zip(place.resources, place.handicaps or repeat(0.0), strict=False)
            if name in resources
        )
        self.has_handicaps = any(place.handicaps)
        self.cost = 0
        self.asked: Ticket | None = None
        self.policy = policy
        self._live = 0
        self._entries = 0  # numbers them, so that no two compare equal
        self._heap: list[tuple[float, float, int, int, Queue]] = []
        self._queues: dict[Share, Queue] = {}
        self._exempt: dict[Share, Queue] = {}

    def __len__(self) -> int:
        return self._live

    def push(self, ticket: Ticket) -> None:
        """Put a ticket in line."""
        queues = self._exempt if ticket.is_exempt else self._queues
        queue = queues.get(ticket.share)
        if queue is None:
            queue = Queue(ticket.share, is_exempt=ticket.is_exempt)
            queues[ticket.share] = queue
        ticket.queue = queue
        heappush(queue.heap, (ticket.rank, ticket.arrival, ticket))
        queue.live += 1
        self._live += 1
        self.cost += ticket.job.cost
        if queue.heap[0][2] is ticket:
            self.bring_back(queue)

    def bring_back(self, queue: Queue) -> None:
        """Put a queue where its head belongs now; its other entry is void."""
        self._entries += 1
        queue.version = self._entries
        head = queue.head()
        if head is not None:
            first, second = self.policy.key(head)
            heappush(self._heap, (first, second, head.arrival, queue.version, queue))
        if len(self._heap) > 2 * (len(self._queues) + len(self._exempt)) + _SPARE:
            self._heap = [entry for entry in self._heap if entry[3] == entry[4].version]
            heapify(self._heap)

    def head(self) -> Ticket | None:
        """Give the first ticket without taking it."""
        heap = self._heap
        while heap:
            first, second, arrival, version, queue = heap[0]
            if version != queue.version:
                heappop(heap)
                continue
            head = queue.heap[0][2]  # live: whoever takes one out sees to that
            now = self.policy.key(head)
            if now[0] == first and now[1] == second and head.arrival == arrival:
                return head
            heapreplace(heap, (now[0], now[1], head.arrival, version, queue))
        return None

    def pop(self) -> Ticket:
        """Take the ticket that `head` has just given."""
        queue = self._heap[0][4]
        ticket = heappop(queue.heap)[2]
        self._count_out(queue, ticket)
        if queue.head() is None:
            heappop(self._heap)
            self._close(queue)
        return ticket  # the queue's entry is too low now, which `head` will see

    def hold_back(self) -> Queue:
        """Take the queue of `head` out of the decision until it is brought back."""
        return heappop(self._heap)[4]

    def drop(self, ticket: Ticket) -> None:
        """Take a ticket out of line, wherever it stands in it."""
        queue = ticket.queue
        assert queue is not None
        was_head = queue.heap[0][2] is ticket
        self._count_out(queue, ticket)
        if not queue.live:
            queue.version = 0
            self._close(queue)
        elif was_head:
            # At once, as the next head may go before the key that stands for the queue.
            self.bring_back(queue)
        elif ticket.is_waiting or queue.live < len(queue.heap) // 4 - _SPARE:
            queue.compact()  # it may come back, and must not be there twice

    @property
    def is_measured(self) -> bool:
        """Whether the speed of all its resources is known."""
        return all(choice.resource.is_measured for choice in self.choices)

    def seconds_for(self, count: int, cost: int = 1) -> float:
        """Predict in how many seconds so many jobs like those in line start.

        Args:
            count: Jobs.
            cost: What one costs if none is in line.
        """
        mean = max(1.0, self.cost / self._live if self._live else cost)
        pace = sum(choice.resource.pace for choice in self.choices)
        return count * mean / max(pace, 1e-6)

    def queue_of(self, share: Share) -> Queue | None:
        """Find the queue of a share."""
        return self._queues.get(share)

    def queues_of(self, share: Share) -> list[Queue]:
        """Find the queue of a share, and that of its jobs that are exempt from its limit."""
        found = (queues.get(share) for queues in (self._queues, self._exempt))
        return [queue for queue in found if queue is not None]

    @property
    def queues(self) -> Collection[Queue]:
        """All queues, each with a ticket at least."""
        return (*self._queues.values(), *self._exempt.values())

    def _count_out(self, queue: Queue, ticket: Ticket) -> None:
        ticket.queue = None
        queue.live -= 1
        self._live -= 1
        self.cost -= ticket.job.cost

    def _close(self, queue: Queue) -> None:
        del (self._exempt if queue.is_exempt else self._queues)[queue.share]
