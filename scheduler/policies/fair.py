"""Fair shares of the work done, by weight, over agents.

Start-time fair queueing: P. Goyal, H. Vin, H. Cheng, Start-time Fair Queuing, 1996; with tokens as
the work, as in Y. Sheng and others, Fairness in Serving Large Language Models, 2024. Each job gets
a start on a clock of work: where its agent's job before it ends, but never before the present. The
earliest start runs first. What a job is expected to cost moves its agent on at once; what it really
used corrects that when it ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.jobs import Job


@dataclass(slots=True)
class _Flow:
    """One agent's jobs of one group: where the next one starts, and where those here do."""

    finish: float = 0.0
    starts: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(slots=True)
class _Group:
    """Jobs whose work is of one kind. The present is the start of the job that started last."""

    present: float = 0.0
    live: int = 0
    flows: dict[str, _Flow] = field(default_factory=dict[str, _Flow])


class Fair:
    """Gives each agent that has work waiting its share, whatever the others ask for.

    Invariants, shown by `tests/scheduler/test_policies.py`:
        - of two agents with work waiting, the work done divided by weight differs by at most their
          largest jobs divided by their weights (one slot, costs known beforehand);
        - an agent's own jobs of a group run in order of arrival;
        - an agent that comes late starts at the present: it neither owes nor is owed anything.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = dict(weights or {})
        self._groups: dict[str, _Group] = {}

    def rank(self, job: Job, arrival: int, now: float, /) -> float:
        """Give the job's start on the clock of work."""
        group = self._groups.setdefault(job.group, _Group())
        flow = group.flows.setdefault(job.agent, _Flow())
        start = max(group.present, flow.finish)
        if flow.starts:  # a correction must not let it pass its own
            start = max(start, next(reversed(flow.starts.values())))
        group.live += 1
        flow.starts[job.id] = start
        flow.finish = start + job.cost / self._weight(job)
        return start

    def start(self, job: Job, /) -> None:
        """Move the present on."""
        group = self._groups[job.group]
        group.present = max(group.present, group.flows[job.agent].starts[job.id])

    def end(self, job: Job, used: int, /) -> None:
        """Charge what was used in place of what was expected."""
        group = self._groups[job.group]
        flow = group.flows[job.agent]
        del flow.starts[job.id]
        flow.finish += (used - job.cost) / self._weight(job)
        group.live -= 1
        if not group.live:
            del self._groups[job.group]  # nobody waits or runs, so nobody is behind

    def _weight(self, job: Job) -> float:
        return self._weights.get(job.agent, 1.0)
