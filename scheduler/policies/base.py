"""The policy seam."""

from typing import Protocol

from scheduler.jobs import Job


class Policy(Protocol):
    """Orders waiting jobs; learns from the work done.

    Implementations are pure: the same calls give the same answers.
    """

    def rank(self, job: Job, arrival: int, /) -> float:
        """Place of a job in line; the smallest runs first, equals in order of arrival.

        Args:
            job: The job to place.
            arrival: How many jobs were submitted before it.
        """
        ...

    def charge(self, job: Job, used: int, /) -> None:
        """Learn that a job used `used` units of work (tokens for LLM work)."""
        ...
