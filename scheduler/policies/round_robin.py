"""Turns of equal length, one agent after the other."""

from typing import ClassVar

from scheduler.policies.base import Order, Policy
from scheduler.tickets import Key, Ticket


class RoundRobin(Policy):
    """Gives each agent with work waiting one turn after the other, a turn being so much work.

    A job whose turn is over stands still while another agent waits that has had fewer turns; where
    jobs cannot stand still, a turn is a whole job and a long one counts as many.
    """

    order: ClassVar[Order] = "turns"

    def __init__(self, turn_tokens: int = 64) -> None:
        self._turn = turn_tokens

    def rank(self, ticket: Ticket, now: float, /) -> float:
        """Give the arrival: an agent's own jobs run one after the other."""
        return ticket.arrival

    def key(self, ticket: Ticket, /) -> Key:
        """Give the turns that the agent has had."""
        share = ticket.share
        return share.top.counter, share.own

    def charge(self, ticket: Ticket, /, *, is_over: bool) -> None:
        """Count a turn when it begins; one that was not used up goes on after a pause."""
        turns = float(max(1, -(-ticket.used // self._turn)))
        if turns > ticket.charged and ticket.has_started:
            more = turns - ticket.charged
            ticket.share.own += more
            ticket.share.top.counter += more
            ticket.charged = turns

    def gives_way(self, running: Ticket, head: Ticket, /) -> bool:
        """Say yes after a turn to an agent that has had fewer."""
        is_over = running.ran >= self._turn
        return is_over and self.key(head) < self.key(running)
