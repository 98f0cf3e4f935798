"""Earliest deadline first (Liu and Layland, 1973)."""

import math

from scheduler.jobs import Job


class Deadline:
    """Runs the job first whose time runs out first; those without a deadline come last."""

    def rank(self, job: Job, arrival: int, now: float, /) -> float:
        """Give the deadline."""
        return math.inf if job.deadline is None else job.deadline

    def start(self, job: Job, /) -> None:
        """Ignore it: deadlines are all that count."""

    def end(self, job: Job, used: int, /) -> None:
        """Ignore it too."""
