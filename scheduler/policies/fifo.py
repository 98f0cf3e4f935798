"""First in, first out."""

from scheduler.policies.base import Order
from scheduler.tickets import Ticket
from scheduler.waiting import Key


class Fifo:
    """Runs jobs in the order of their arrival, whoever owns them, each to its end."""

    order: Order = "arrival"

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
