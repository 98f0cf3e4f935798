"""First in, first out."""

from scheduler.jobs import Job


class Fifo:
    """Runs jobs in the order of their arrival, whoever owns them."""

    def rank(self, job: Job, arrival: int, /) -> float:
        """Give the arrival itself."""
        return arrival

    def charge(self, job: Job, used: int, /) -> None:
        """Ignore usage: FIFO has no memory."""
