"""The policy seam."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from scheduler.tickets import Key, Ticket

Order = Literal["arrival", "turns", "rank"]
"""Whoever came first; agents in turn; or by a rank that a newcomer may have before all others."""


class Policy(ABC):
    """Orders waiting jobs; learns from the work done.

    Implementations are pure: the same calls give the same answers. A base class rather than a
    protocol, as compiled code finds the methods of a class it knows without looking them up.
    """

    order: ClassVar[Order]
    """By what it orders, which tells how long a newcomer waits at least."""

    @abstractmethod
    def rank(self, ticket: Ticket, now: float, /) -> float:
        """Give a new job's place among its agent's jobs; the smallest runs first."""

    @abstractmethod
    def key(self, ticket: Ticket, /) -> Key:
        """Give the place of an agent's first job among those of the others, as of now.

        It may grow while the job waits; where it shrinks, it is by a charge taken back.
        """

    @abstractmethod
    def charge(self, ticket: Ticket, /, *, is_over: bool) -> None:
        """Charge the share of a job that has just got its slot, worked on, or left."""

    @abstractmethod
    def gives_way(self, running: Ticket, head: Ticket, /) -> bool:
        """Say whether a running job should stand still for a waiting one."""
