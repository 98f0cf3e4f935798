"""The policy seam."""

from typing import Protocol

from scheduler.jobs import Job


class Policy(Protocol):
    """Orders waiting jobs; learns from the work done.

    Implementations are pure: the same calls give the same answers. For each job there is one
    `rank`, at most one `start`, and one `end`, in this order.
    """

    def rank(self, job: Job, arrival: int, now: float, /) -> float:
        """Place of a job in line; the smallest runs first, equals in order of arrival.

        Args:
            job: The job to place.
            arrival: How many jobs were submitted before it.
            now: When it is submitted.
        """
        ...

    def start(self, job: Job, /) -> None:
        """Learn that a job got its slot."""
        ...

    def end(self, job: Job, used: int, /) -> None:
        """Learn that a job has left, having used `used` units of work; 0 if it never started."""
        ...
