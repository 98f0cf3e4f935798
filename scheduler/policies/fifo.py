"""First in, first out."""

from scheduler.jobs import Job


class Fifo:
    """Runs jobs in the order of their arrival, whoever owns them."""

    def rank(self, job: Job, arrival: int, now: float, /) -> float:
        """Give the arrival itself."""
        return arrival

    def start(self, job: Job, /) -> None:
        """Ignore it: arrival is all that counts."""

    def end(self, job: Job, used: int, /) -> None:
        """Ignore it too."""
