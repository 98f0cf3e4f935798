"""The scheduler once more, as plainly as can be: lists, `min` and no laziness.

The real one must make the same decisions, step by step.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scheduler import Grant, Job, Lane
from tests.scheduler.entries import Entry, Lending

PolicyName = Literal["fifo", "round_robin", "priority", "deadline", "fair", "lanes"]

AGEING_SECONDS = 5.0
AGEING_TOKENS = 100
TURN_TOKENS = 10
WEIGHTS = {"a": 2.0, "c": 0.5}
OUTPUT_WEIGHT = 2.0
LANE_POLICIES: Mapping[Lane, PolicyName] = {
    Lane.URGENT: "deadline",
    Lane.NORMAL: "fair",
    Lane.BATCH: "round_robin",
}
LANE_WEIGHTS = {Lane.URGENT: 3.0, Lane.NORMAL: 2.0, Lane.BATCH: 1.0}


@dataclass
class Speed:
    """How long the jobs of a resource took of late, and what they cost."""

    measured: int = 0
    seconds: float = 0.0
    cost: float = 0.0

    def measure(self, cost: int, seconds: float) -> None:
        self.measured += 1
        step = max(0.1, 1 / self.measured)
        self.seconds += step * (seconds - self.seconds)
        self.cost += step * (max(1, cost) - self.cost)


class Reference:
    """What should happen."""

    def __init__(
        self, policy: PolicyName, slots: Mapping[str, int], most: int, most_per_agent: int
    ) -> None:
        self.policy: PolicyName = policy
        self.slots = slots
        self.most = most
        self.most_per_agent = most_per_agent
        self.live: dict[str, Entry] = {}
        self.counters: dict[tuple[int, str], float] = {}
        self.own: dict[tuple[int, str, str], float] = {}
        self.lanes: dict[int, float] = {}
        self.had: dict[tuple[str, str], float] = {}
        self.speeds = {name: Speed() for name in slots}
        self.warm: dict[str, str] = {}
        self.lending = Lending()
        self.arrivals = 0

    def band(self, entry: Entry) -> int:
        """The lane that it stands in; 0 where one policy orders all."""
        return int(entry.lane) if self.policy == "lanes" else 0

    def policy_of(self, entry: Entry) -> PolicyName:
        return LANE_POLICIES[entry.lane] if self.policy == "lanes" else self.policy

    def waiting(self) -> list[Entry]:
        return [entry for entry in self.live.values() if entry.is_waiting]

    def running(self) -> list[Entry]:
        return [entry for entry in self.live.values() if not entry.is_waiting]

    def free(self, resource: str) -> int:
        holders = [each for each in self.running() if each.lender is None]
        return self.slots[resource] - sum(each.resource == resource for each in holders)

    def verdict(self, job: Job) -> str | None:
        """Say whether it is "refused" or lets the "heaviest" make room; None if there is room."""
        unstarted = [each for each in self.waiting() if not each.resource]
        counts = {each.top: 0 for each in unstarted}
        for each in unstarted:
            counts[each.top] += 1
        mine = counts.get(job.superior or job.agent, 0)
        if mine >= self.most_per_agent and job.parent not in self.live:
            return "refused"
        if len(unstarted) < self.most:
            return None
        return "refused" if mine + 1 >= max(counts.values()) else "heaviest"

    def submit(self, job: Job, parent: Entry | None, now: float) -> None:
        entry = Entry(job, self.arrivals, now, parent)
        self.arrivals += 1
        self._join(entry)
        entry.rank = self._rank(entry, now)
        self.live[job.id] = entry
        if entry.parent is not None:
            self.lending.enter(entry)

    def schedule(self, now: float) -> list[Grant]:
        grants: list[Grant] = []
        while self.lending.ready:
            entry = self.lending.ready.pop(0)
            assert entry.lender is not None
            grants.append(self._start(entry, entry.lender.resource, now))
        while found := self._runnable(now):
            entry, resource = min(found, key=lambda each: self._order(each[0]))
            grants.append(self._start(entry, resource, now))
        return grants

    def _start(self, entry: Entry, resource: str, now: float) -> Grant:
        if not entry.resource:
            self.lending.forget(entry)
            if entry.job.affinity:
                self.warm[entry.job.affinity] = resource
        entry.is_waiting, entry.since, entry.resource = False, now, resource
        self.charge(entry, is_over=False)
        return Grant(entry.job, resource)

    def progress(self, job_id: str, used: int) -> None:
        entry = self.live[job_id]
        entry.used = max(entry.used, used)
        self.charge(entry, is_over=False)

    def pause(self, job_id: str, now: float) -> None:
        entry = self.live[job_id]
        entry.ran_seconds += now - entry.since
        entry.is_waiting, entry.since = True, now

    def release(self, job_id: str, used: int | None, now: float) -> None:
        entry = self.live[job_id]
        if used is not None and entry.resource:
            entry.used = used
        entry.is_over = True
        if entry.is_waiting:
            self.lending.forget(entry)
        else:
            seconds = entry.ran_seconds + now - entry.since
            self.speeds[entry.resource].measure(entry.job.cost, seconds)
            self.lending.settle(entry)
        self.charge(entry, is_over=True)
        del self.live[job_id]
        band = self.band(entry)
        left = [each for each in self.live.values() if self.band(each) == band]
        if not left:
            self.counters = {key: had for key, had in self.counters.items() if key[0] != band}
            self.own = {key: had for key, had in self.own.items() if key[0] != band}
        if not any(each.top == entry.top for each in left):
            for key in [key for key in self.own if key[:2] == (band, entry.top) != key[::2]]:
                del self.own[key]
        if not self.live:
            self.lanes.clear()

    def charge(self, entry: Entry, *, is_over: bool) -> None:
        if not entry.resource:
            return
        due = self._due(entry, is_over=is_over)
        work = due - entry.charged
        entry.charged = due
        agent, top, band = entry.job.agent, entry.top, self.band(entry)
        weigh = self.policy_of(entry) == "fair"
        self.own[band, top, agent] += work / (WEIGHTS.get(agent, 1.0) if weigh else 1.0)
        self.counters[band, top] += work / (WEIGHTS.get(top, 1.0) if weigh else 1.0)
        if entry.job.program and weigh:
            key = (agent, entry.job.program)
            self.had[key] = max(0.0, self.had.get(key, 0.0) + work)
        used = entry.used if is_over else max(entry.used, entry.job.prompt, 1)
        self.lanes[band] += (used - entry.lane_charged) / LANE_WEIGHTS[Lane(band)]
        entry.lane_charged = used

    def _due(self, entry: Entry, *, is_over: bool) -> float:
        used, prompt = entry.used, entry.job.prompt
        if self.policy_of(entry) != "fair":
            return max(entry.charged, float(math.ceil(used / TURN_TOKENS)), 1.0)
        due = min(used, prompt) + max(0, used - prompt) * OUTPUT_WEIGHT
        return due if is_over else max(due, float(prompt), 1.0, entry.charged)

    def _join(self, entry: Entry) -> None:
        top, agent, band = entry.top, entry.job.agent, self.band(entry)
        if band not in map(self.band, self.live.values()):
            least = min((self.lanes[self.band(each)] for each in self.live.values()), default=0.0)
            self.lanes[band] = max(self.lanes.get(band, 0.0), least)
        peers = [each for each in self.live.values() if self.band(each) == band]
        tops = {each.top for each in peers}
        if top not in tops:
            least = min((self.counters[band, each] for each in tops), default=0.0)
            self.counters[band, top] = max(self.counters.get((band, top), 0.0), least)
        mine = {each.job.agent for each in peers if each.top == top}
        if agent not in mine:
            least = min((self.own[band, top, each] for each in mine), default=0.0)
            self.own[band, top, agent] = max(self.own.get((band, top, agent), 0.0), least)

    def _rank(self, entry: Entry, now: float) -> float:
        job, policy = entry.job, self.policy_of(entry)
        if policy == "priority":
            return now + entry.lane * AGEING_SECONDS
        if policy == "deadline":
            return entry.due
        if policy == "fair":
            had = self.had.get((job.agent, job.program), 0.0) if job.program else 0.0
            since = now + entry.lane * AGEING_SECONDS
            return min(had, AGEING_TOKENS * 4 * AGEING_SECONDS) + since * AGEING_TOKENS
        return entry.arrival

    def _key(self, entry: Entry) -> tuple[float, float]:
        if self.policy_of(entry) in ("fair", "round_robin"):
            band = self.band(entry)
            return self.counters[band, entry.top], self.own[band, entry.top, entry.job.agent]
        return entry.rank, 0.0

    def _order(self, entry: Entry) -> tuple[float, int, tuple[float, float], int]:
        band = self.band(entry)
        lane = self.lanes[band] if self.policy == "lanes" else 0.0
        return lane, band, self._key(entry), entry.arrival

    def _runnable(self, now: float) -> list[tuple[Entry, str]]:
        """The first of each line that could start, and where."""
        lines: dict[object, list[Entry]] = {}
        for entry in self.waiting():
            if entry.lender is None:
                lines.setdefault((entry.place, self.band(entry)), []).append(entry)
        found: list[tuple[Entry, str]] = []
        for line in lines.values():
            free = {name: cost for name, cost in line[0].choices.items() if self.free(name) > 0}
            head = self._head(line) if free else None
            resource = None if head is None else self._resource(head, free, lines, now)
            if head is not None and resource is not None:
                found.append((head, resource))
        return found

    def _head(self, line: list[Entry]) -> Entry | None:
        """The first of each agent, of these the one that the policy puts first."""
        queues: dict[object, Entry] = {}
        for entry in line:
            name = (entry.share, entry.is_exempt)
            other = queues.get(name)
            if other is None or (entry.rank, entry.arrival) < (other.rank, other.arrival):
                queues[name] = entry
        heads = [each for each in queues.values() if self._is_within_limit(each)]
        return min(heads, key=lambda each: (self._key(each), each.arrival), default=None)

    def _is_within_limit(self, entry: Entry) -> bool:
        limit = entry.job.agent_limit
        if limit is None or entry.is_exempt:
            return True
        counted = [each.share for each in self.running() if not each.is_exempt]
        return counted.count(entry.share) < limit

    def _resource(
        self,
        head: Entry,
        free: Mapping[str, float],
        lines: Mapping[object, list[Entry]],
        now: float,
    ) -> str | None:
        warm = self.warm.get(head.job.affinity)
        best = min(free, key=lambda name: (free[name], name != warm))
        preferred = {n: cost for n, cost in head.choices.items() if cost < free[best]}
        if not preferred:
            return best
        patience = free[best] - min(preferred.values())
        speeds = [self.speeds[name] for name in preferred]
        if all(speed.measured >= 8 for speed in speeds):
            rivals = [line for line in lines.values() if preferred.keys() & line[0].choices.keys()]
            cost = sum(each.job.cost for line in rivals for each in line)
            paces = [
                self.slots[name] * self.speeds[name].cost / max(self.speeds[name].seconds, 1e-6)
                for name in preferred
            ]
            if cost / sum(paces) > patience:
                return best
        return best if head.since + patience <= now else None
