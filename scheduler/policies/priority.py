"""Service classes, with ageing so that none starves."""

from typing import ClassVar

from scheduler.policies.base import Order, Policy
from scheduler.tickets import Key, Ticket


class Priority(Policy):
    """Runs the more urgent lane first; a job catches up one lane for each ageing step it waits.

    The rank is the arrival plus one step for each lane, so that nothing is ever sorted anew.
    Invariant: a job is overtaken only by jobs that arrive less than `lane * ageing_seconds` after
    it (`tests/scheduler/test_policies.py`).
    """

    order: ClassVar[Order] = "rank"

    def __init__(self, ageing_seconds: float) -> None:
        self._ageing_seconds = ageing_seconds

    def rank(self, ticket: Ticket, now: float, /) -> float:
        """Give the time by which the job counts as one of the first lane."""
        return now + ticket.lane * self._ageing_seconds

    def key(self, ticket: Ticket, /) -> Key:
        """Give the rank."""
        return ticket.rank, 0.0

    def charge(self, ticket: Ticket, /, *, is_over: bool) -> None:
        """Ignore it: arrival and lane are all that count."""

    def gives_way(self, running: Ticket, head: Ticket, /) -> bool:
        """Say yes to a more urgent lane, unless ageing has made up for it."""
        return head.lane < running.lane and head.rank < running.rank
