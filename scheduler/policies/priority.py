"""Service classes, with ageing so that none starves."""

from scheduler.jobs import Job


class Priority:
    """Runs the more urgent lane first; a job catches up one lane for each ageing step it waits.

    The rank is the arrival plus one step for each lane, so that nothing is ever sorted anew.
    Invariant: a job is overtaken only by jobs that arrive less than `lane * ageing_seconds` after
    it (`tests/scheduler/test_policies.py`).
    """

    def __init__(self, ageing_seconds: float) -> None:
        self._ageing_seconds = ageing_seconds

    def rank(self, job: Job, arrival: int, now: float, /) -> float:
        """Give the time by which the job counts as one of the first lane."""
        return now + job.lane * self._ageing_seconds

    def start(self, job: Job, /) -> None:
        """Ignore it: arrival and lane are all that count."""

    def end(self, job: Job, used: int, /) -> None:
        """Ignore it too."""
