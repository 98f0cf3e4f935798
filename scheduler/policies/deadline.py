"""Earliest deadline first (Liu and Layland, 1973)."""

from typing import ClassVar

from scheduler.policies.base import Order, Policy
from scheduler.tickets import Key, Ticket


class Deadline(Policy):
    """Runs the job first whose time runs out first; those without a deadline come last."""

    order: ClassVar[Order] = "rank"

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
