"""Earliest deadline first (Liu and Layland, 1973)."""

from scheduler.policies.base import Order
from scheduler.tickets import Ticket
from scheduler.waiting import Key


class Deadline:
    """Runs the job first whose time runs out first; those without a deadline come last."""

    order: Order = "rank"

    def rank(self, ticket: Ticket, now: float, /) -> float:
        """Give the deadline, which a job keeps when it is paused."""
        return ticket.due

    def key(self, ticket: Ticket, /) -> Key:
        """Give the deadline again."""
        return ticket.rank, 0.0

    def charge(self, ticket: Ticket, /, *, is_over: bool) -> None:
        """Ignore it: deadlines are all that count."""

    def gives_way(self, running: Ticket, head: Ticket, /) -> bool:
        """Say yes to an earlier deadline."""
        return head.rank < running.rank
