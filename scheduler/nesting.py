"""Jobs on behalf of others, which run in their ancestors' slots where they need the same resource.

A job that holds a slot while it waits for a nested one would wait for ever if that one waited for
the same slot. So the slot is lent: to one nested job at a time, which gives it back when it ends.
"""

from collections.abc import Callable

from scheduler.tickets import Ticket


class Loans:
    """Who waits to run in whose slot.

    Invariant (`tests/scheduler/test_nesting.py`): a slot is free only when its holder and the
    nested job in it have both ended, in whichever order.

    Args:
        stand_in: Puts a ticket in line.
        take_out: Takes one out of line that stays alive.
    """

    def __init__(
        self, stand_in: Callable[[Ticket], None], take_out: Callable[[Ticket], None]
    ) -> None:
        self._stand_in = stand_in
        self._take_out = take_out
        self._in_line: dict[str, Ticket] = {}
        self._ready: dict[str, Ticket] = {}

    def enter(self, ticket: Ticket) -> None:
        """Have a nested job wait for an ancestor's slot, or in line if none is to be had."""
        lender = next(filter(ticket.may_borrow_from, ticket.ancestors()), None)
        if lender is not None:
            self._lend(lender, ticket)
            return
        ticket.is_exempt = any(
            above.is_running and above.has_owner_of(ticket) for above in ticket.ancestors()
        )
        self._in_line[ticket.job.id] = ticket
        self._stand_in(ticket)

    def next_ready(self) -> Ticket | None:
        """Take a job that can start in the slot it was lent."""
        if not self._ready:
            return None
        return self._ready.pop(next(iter(self._ready)))

    def forget(self, ticket: Ticket) -> None:
        """Learn that a nested job has started, or leaves before it does."""
        self._in_line.pop(ticket.job.id, None)
        if self._ready.pop(ticket.job.id, None) is not None and ticket.lender is not None:
            self._end(ticket.lender)

    def settle(self, ticket: Ticket) -> bool:
        """Learn that a job gives its slot back; say whether that is free now."""
        lender, borrower = ticket.lender, ticket.borrower
        ticket.lender = ticket.borrower = None
        if borrower is not None and borrower.is_running:
            borrower.lender = lender  # with no lender left, the slot is its own
            if lender is not None:
                lender.borrower = borrower
            return False
        if lender is not None:
            self._end(lender)
        if borrower is not None:
            del self._ready[borrower.job.id]
            borrower.lender = None
            self.enter(borrower)
        return lender is None

    def _lend(self, lender: Ticket, ticket: Ticket) -> None:
        lender.borrower, ticket.lender = ticket, lender
        ticket.is_exempt = True
        self._ready[ticket.job.id] = ticket

    def _end(self, lender: Ticket) -> None:
        lender.borrower = None
        for waiting in self._in_line.values():
            if lender in waiting.ancestors() and waiting.may_borrow_from(lender):
                self._take_out(waiting)
                del self._in_line[waiting.job.id]
                self._lend(lender, waiting)
                return
