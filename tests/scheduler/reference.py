"""The scheduler once more, as plainly as can be: lists, `min` and no laziness.

The real one must make the same decisions, step by step.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scheduler import Grant, Job

PolicyName = Literal["fifo", "round_robin", "priority", "deadline", "fair"]

AGEING_SECONDS = 5.0
AGEING_TOKENS = 100
TURN_TOKENS = 10
WEIGHTS = {"a": 2.0, "c": 0.5}
OUTPUT_WEIGHT = 2.0


@dataclass(eq=False)
class Entry:
    job: Job
    arrival: int
    rank: float
    resource: str = ""
    is_waiting: bool = True
    used: int = 0
    charged: float = 0.0

    @property
    def top(self) -> str:
        return self.job.superior or self.job.agent


class Reference:
    """What should happen, for jobs without handicaps, affinity and parents."""

    def __init__(
        self, policy: PolicyName, slots: Mapping[str, int], most: int, most_per_agent: int
    ) -> None:
        self.policy = policy
        self.slots = slots
        self.most = most
        self.most_per_agent = most_per_agent
        self.live: dict[str, Entry] = {}
        self.counters: dict[str, float] = {}
        self.own: dict[tuple[str, str], float] = {}
        self.had: dict[tuple[str, str], float] = {}
        self.arrivals = 0

    def waiting(self) -> list[Entry]:
        return [entry for entry in self.live.values() if entry.is_waiting]

    def running(self) -> list[Entry]:
        return [entry for entry in self.live.values() if not entry.is_waiting]

    def free(self, resource: str) -> int:
        return self.slots[resource] - sum(each.resource == resource for each in self.running())

    def submit(self, job: Job, now: float) -> str | None:
        """Give None if it is let in, the id of the job that made room, or "refused"."""
        unstarted = [each for each in self.waiting() if not each.resource]
        counts = {each.top: 0 for each in unstarted}
        for each in unstarted:
            counts[each.top] += 1
        top = job.superior or job.agent
        if counts.get(top, 0) >= self.most_per_agent:
            return "refused"
        loser = None
        if len(unstarted) >= self.most:
            heaviest = max(counts.values())
            if counts.get(top, 0) + 1 >= heaviest:
                return "refused"
            loser = "heaviest"
        entry = Entry(job, self.arrivals, 0.0)
        self.arrivals += 1
        self._join(entry)
        entry.rank = self._rank(entry, now)
        self.live[job.id] = entry
        return loser

    def schedule(self) -> list[Grant]:
        grants: list[Grant] = []
        while heads := self._heads():
            entry = min(heads, key=lambda each: (self._key(each), each.arrival))
            resource = next(name for name in self._wanted(entry) if self.free(name))
            entry.is_waiting = False
            entry.resource = resource
            self.charge(entry, is_over=False)
            grants.append(Grant(entry.job, resource))
        return grants

    def progress(self, job_id: str, used: int) -> None:
        entry = self.live[job_id]
        entry.used = max(entry.used, used)
        self.charge(entry, is_over=False)

    def pause(self, job_id: str) -> None:
        self.live[job_id].is_waiting = True

    def release(self, job_id: str, used: int | None) -> None:
        entry = self.live[job_id]
        if used is not None and entry.resource:
            entry.used = used
        self.charge(entry, is_over=True)
        del self.live[job_id]
        if not self.live:
            self.counters.clear()
            self.own.clear()
        if not any(each.top == entry.top for each in self.live.values()):
            for key in [key for key in self.own if key[0] == entry.top != key[1]]:
                del self.own[key]

    def charge(self, entry: Entry, *, is_over: bool) -> None:
        if not entry.resource:
            return
        due = self._due(entry, is_over=is_over)
        work = due - entry.charged
        entry.charged = due
        agent, top = entry.job.agent, entry.top
        weigh = self.policy == "fair"
        self.own[top, agent] += work / (WEIGHTS.get(agent, 1.0) if weigh else 1.0)
        self.counters[top] += work / (WEIGHTS.get(top, 1.0) if weigh else 1.0)
        if entry.job.program:
            key = (agent, entry.job.program)
            self.had[key] = max(0.0, self.had.get(key, 0.0) + work)

    def _due(self, entry: Entry, *, is_over: bool) -> float:
        used, prompt = entry.used, entry.job.prompt
        if self.policy != "fair":
            return max(entry.charged, float(math.ceil(used / TURN_TOKENS)), 1.0)
        due = min(used, prompt) + max(0, used - prompt) * OUTPUT_WEIGHT
        return due if is_over else max(due, float(prompt), 1.0, entry.charged)

    def _join(self, entry: Entry) -> None:
        top, agent = entry.top, entry.job.agent
        tops = {each.top for each in self.live.values()}
        if top not in tops:
            least = min((self.counters[each] for each in tops), default=0.0)
            self.counters[top] = max(self.counters.get(top, 0.0), least)
        mine = {each.job.agent for each in self.live.values() if each.top == top}
        if agent not in mine:
            least = min((self.own[top, each] for each in mine), default=0.0)
            self.own[top, agent] = max(self.own.get((top, agent), 0.0), least)

    def _rank(self, entry: Entry, now: float) -> float:
        job = entry.job
        if self.policy == "priority":
            return now + job.lane * AGEING_SECONDS
        if self.policy == "deadline":
            return math.inf if job.deadline is None else job.deadline
        if self.policy == "fair":
            had = self.had.get((job.agent, job.program), 0.0) if job.program else 0.0
            since = now + job.lane * AGEING_SECONDS
            return min(had, AGEING_TOKENS * 4 * AGEING_SECONDS) + since * AGEING_TOKENS
        return entry.arrival

    def _key(self, entry: Entry) -> tuple[float, float]:
        if self.policy in ("fair", "round_robin"):
            return self.counters[entry.top], self.own[entry.top, entry.job.agent]
        return entry.rank, 0.0

    def _wanted(self, entry: Entry) -> tuple[str, ...]:
        return (entry.resource,) if entry.resource else entry.job.resources

    def _heads(self) -> list[Entry]:
        """The first of each agent in each line, if it could start."""
        heads: dict[object, Entry] = {}
        for entry in self.waiting():
            place = (entry.job.agent, entry.top, self._wanted(entry))
            other = heads.get(place)
            if other is None or (entry.rank, entry.arrival) < (other.rank, other.arrival):
                heads[place] = entry
        return [each for each in heads.values() if self.could_start(each)]

    def could_start(self, entry: Entry) -> bool:
        limit = entry.job.agent_limit
        mine = sum(
            (each.job.agent, each.top) == (entry.job.agent, entry.top) for each in self.running()
        )
        is_within = limit is None or mine < limit
        return is_within and any(self.free(name) for name in self._wanted(entry))
