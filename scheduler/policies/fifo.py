"""First in, first out."""

from typing import ClassVar

from scheduler.policies.base import Order, Policy
from scheduler.tickets import Key, Ticket


class Fifo(Policy):
    """Runs jobs in the order of their arrival, whoever owns them, each to its end."""

    order: ClassVar[Order] = "arrival"

    def rank(self, ticket: Ticket, now: float, /) -> float:
        """Give the arrival itself."""
        return ticket.arrival

    def key(self, ticket: Ticket, /) -> Key:
        """Give the arrival again."""
        return ticket.rank, 0.0

    def charge(self, ticket: Ticket, /, *, is_over: bool) -> None:
        """Ignore it: arrival is all that counts."""

    def gives_way(self, running: Ticket, head: Ticket, /) -> bool:
        """Say no: whoever came first stays."""
        return False
