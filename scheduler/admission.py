"""Who may wait: bounds of the lines, and whose job makes room when all places are taken."""

from collections.abc import Callable

from scheduler.jobs import Job, QueueFullError
from scheduler.tickets import Ticket


class Admission:
    """Counts the jobs that have not started, by agent; sub-agents count for their superior.

    Args:
        most: Jobs in all.
        most_per_agent: Jobs of one agent.
        seconds: Predicts the time in which so many jobs like one start.

    Invariant (`tests/scheduler/test_properties.py`): `len` and the count of no agent exceed their
    bounds, nested jobs not counted for the latter.
    """

    def __init__(
        self, most: int, most_per_agent: int, seconds: Callable[[Job, int], float]
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._most_per_agent = most_per_agent
        self._of: dict[str, dict[str, Ticket]] = {}
        self._agents_with = [0]  # by the number of jobs that they have waiting; the last is not 0
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def find_room(self, job: Job, *, is_nested: bool = False) -> Ticket | None:
        """Give the waiting job that must leave for a new one; None if there is a place.

        It is the last one of the agent that has most in line, if the newcomer's agent has fewer. A
        job that another waits for is not refused for the line of its own agent.

        Raises:
            QueueFullError: The agent's line is at its bound, or all are and it is the heaviest.
        """
        agent = _payer(job)
        tickets = self._of.get(agent)
        mine = 0 if tickets is None else len(tickets)
        if mine >= self._most_per_agent and not is_nested:
            # One of its own starts after one of each of the others.
            wait = self._seconds(job, len(self._of))
            raise _full(f"agent {agent!r}", self._most_per_agent, wait)
        if self._total < self._most:
            return None
        if mine + 1 < len(self._agents_with) - 1:
            return self._last_of_heaviest()
        raise self.full(job)

    def full(self, job: Job) -> QueueFullError:
        """Say that all places are taken, and when one is free."""
        return _full("the kernel", self._most, self._seconds(job, 1))

    def add(self, ticket: Ticket) -> None:
        """Count a job that waits to start."""
        agent = ticket.share.top.agent
        mine = self._of.get(agent)
        if mine is None:
            mine = self._of[agent] = {}
        mine[ticket.job.id] = ticket
        self._total += 1
        count = len(mine)
        self._agents_with[count - 1] -= 1
        if count == len(self._agents_with):
            self._agents_with.append(0)
        self._agents_with[count] += 1

    def remove(self, ticket: Ticket) -> None:
        """Forget a job that starts or leaves."""
        agent = ticket.share.top.agent
        mine = self._of[agent]
        count = len(mine)
        del mine[ticket.job.id]
        self._total -= 1
        if count == 1:
            del self._of[agent]
        agents_with = self._agents_with
        agents_with[count] -= 1
        agents_with[count - 1] += 1
        if not agents_with[-1]:
            agents_with.pop()

    def _last_of_heaviest(self) -> Ticket:
        return next(reversed(max(self._of.values(), key=len).values()))


def _payer(job: Job) -> str:
    return job.superior or job.agent


def _full(whose: str, limit: int, seconds: float) -> QueueFullError:
    return QueueFullError(whose, limit=limit, retry_after_seconds=round(max(0.1, seconds), 1))
