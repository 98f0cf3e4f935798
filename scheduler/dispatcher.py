"""Which resource a job runs on, and how long a line will take."""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterable

from scheduler.jobs import Job
from scheduler.resources import Resource
from scheduler.tickets import Ticket
from scheduler.waiting import Choice, Line

_AFFINITIES = 4096


class Dispatcher:
    """Picks resources for the first jobs of lines.

    A free slot is taken at once, unless the job would rather wait for another: a resource that is
    handicapped by some seconds more than a busy one is taken only when the line is predicted to
    last longer than that, or the job has waited that long. Affinity decides only among free slots
    of equal handicap, so that nobody waits for it.
    """

    def __init__(self) -> None:
        self._warm: OrderedDict[str, str] = OrderedDict()

    def choose(
        self, line: Line, head: Ticket, lines: Collection[Line], now: float
    ) -> Resource | None:
        """Give the resource for the first job of a line; None when it must or should wait.

        Args:
            line: Where the job waits.
            head: The job.
            lines: All lines, for what else waits for the same resources.
            now: Decides how long the job has waited.
        """
        warm = self._warm.get(head.job.affinity) if head.job.affinity else None
        free = [choice for choice in line.choices if choice.resource.free]
        if not free:
            return None
        best = min(free, key=lambda each: (each.handicap, each.resource.name != warm))
        return best.resource if _taken_at(line, head, best, lines) <= now else None

    def spill_at(self, line: Line, head: Ticket, lines: Collection[Line]) -> float:
        """Say when the first job of a line takes a free slot that it does not prefer, if ever."""
        free = [choice for choice in line.choices if choice.resource.free]
        if not free:
            return math.inf
        return _taken_at(line, head, min(free, key=lambda each: each.handicap), lines)

    def note(self, job: Job, resource: Resource) -> None:
        """Remember where jobs with the same affinity run best."""
        if job.affinity:
            self._warm[job.affinity] = resource.name
            self._warm.move_to_end(job.affinity)
            if len(self._warm) > _AFFINITIES:
                self._warm.popitem(last=False)


def drain_seconds(resources: Iterable[Resource], cost: float) -> float:
    """Predict how long resources take for so much work."""
    return cost / sum(resource.pace for resource in resources)


def _taken_at(line: Line, head: Ticket, choice: Choice, lines: Collection[Line]) -> float:
    preferred = [each for each in line.choices if each.handicap < choice.handicap]
    if not preferred:
        return head.since
    patience = choice.handicap - min(each.handicap for each in preferred)
    resources = {each.resource for each in preferred}
    if all(resource.is_measured for resource in resources):
        cost = sum(
            each.cost
            for each in lines
            if any(choice.resource in resources for choice in each.choices)
        )
        if drain_seconds(resources, cost) > patience:
            return head.since
    return head.since + patience
