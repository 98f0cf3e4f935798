"""The policy seam."""

from typing import Literal, Protocol

from scheduler.tickets import Ticket
from scheduler.waiting import Key

Order = Literal["arrival", "turns", "rank"]
"""Whoever came first; agents in turn; or by a rank that a newcomer may have before all others."""


class Policy(Protocol):
    """Orders waiting jobs; learns from the work done.

    Implementations are pure: the same calls give the same answers.
    """

    @property
    def order(self) -> Order:
        """By what it orders, which tells how long a newcomer waits at least."""
        ...

    def rank(self, ticket: Ticket, now: float, /) -> float:
        """Give a new job's place among its agent's jobs; the smallest runs first."""
        ...

    def key(self, ticket: Ticket, /) -> Key:
        """Give the place of an agent's first job among those of the others, as of now.

        It may grow while the job waits; where it shrinks, it is by a charge taken back.
        """
        ...

    def charge(self, ticket: Ticket, /, *, is_over: bool) -> None:
        """Charge the share of a job that has just got its slot, worked on, or left."""
        ...

    def gives_way(self, running: Ticket, head: Ticket, /) -> bool:
        """Say whether a running job should stand still for a waiting one."""
        ...
