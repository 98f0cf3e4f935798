"""A scheduler beside its reference: every step is taken by both, and what differs is an error."""

import random
from collections.abc import Mapping
from typing import get_args

from scheduler import Job, Lane, Lanes, QueueFullError, Scheduler
from scheduler.policies import Deadline, Fair, Fifo, Policy, Priority, RoundRobin
from scheduler.scheduler import MAX_DEPTH
from tests.scheduler.reference import (
    AGEING_SECONDS,
    LANE_POLICIES,
    LANE_WEIGHTS,
    OUTPUT_WEIGHT,
    TURN_TOKENS,
    WEIGHTS,
    PolicyName,
    Reference,
)

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
SLOTS = {"gpu0": 2, "gpu1": 1, "cpu": 3}
PAUSABLE = ("gpu0", "gpu1")
AGENTS = ("a", "b", "c", "a/sub")
LIMITS = {"a": None, "b": 1, "c": 2, "a/sub": 2}
MOST = 12
MOST_PER_AGENT = 6


def make_policy(name: PolicyName) -> Policy | Lanes:
    match name:
        case "lanes":
            policies = {lane: _policy(policy) for lane, policy in LANE_POLICIES.items()}
            return Lanes(policies, LANE_WEIGHTS, TURN_TOKENS)
        case _:
            return _policy(name)


def _policy(name: PolicyName) -> Policy:
    match name:
        case "fifo":
            return Fifo()
        case "round_robin":
            return RoundRobin(TURN_TOKENS)
        case "priority":
            return Priority(AGEING_SECONDS)
        case "deadline":
            return Deadline()
        case _:
            return Fair(
                WEIGHTS,
                output_weight=OUTPUT_WEIGHT,
                quantum_tokens=TURN_TOKENS,
                ageing_seconds=AGEING_SECONDS,
            )


class World:
    """Both, their clock, and what was asked of running jobs."""

    def __init__(
        self, policy: PolicyName, slots: Mapping[str, int] = SLOTS, most: int = MOST
    ) -> None:
        self.scheduler = Scheduler(
            slots,
            make_policy(policy),
            max_waiting=most,
            max_waiting_per_agent=MOST_PER_AGENT,
            pausable=PAUSABLE,
        )
        self.reference = Reference(policy, slots, most, MOST_PER_AGENT)
        self.now = 0.0
        self.count = 0
        self.asked: set[str] = set()
        self.hints: list[float] = []

    def submit(
        self,
        agent: str,
        resources: tuple[str, ...],
        *,
        prompt: int = 0,
        more: int = 1,
        lane: Lane = Lane.NORMAL,
        due: int | None = None,
        program: str = "",
        handicaps: tuple[float, ...] = (),
        affinity: str = "",
        parent: str = "",
    ) -> None:
        self.count += 1
        job = Job(
            id=str(self.count),
            agent=agent,
            superior=agent.partition("/")[0] if "/" in agent else "",
            resources=resources,
            lane=lane,
            cost=prompt + more,
            prompt=prompt,
            deadline=None if due is None else self.now + 1000 + due,
            agent_limit=LIMITS[agent],
            program=program,
            handicaps=handicaps,
            affinity=affinity,
            parent=parent,
        )
        expected = self.reference.verdict(job)
        above = self.reference.live.get(parent)  # it may be the one that makes room
        try:
            loser = self.scheduler.submit(job, self.now)
        except QueueFullError as exc:
            assert expected == "refused", "a job was refused that had a place"
            self.hints.append(exc.retry_after_seconds)
            return
        assert expected == (None if loser is None else "heaviest")
        if loser is not None:
            self._check_loser(loser.job_id)
            self.reference.release(loser.job_id, None, self.now)
        self.reference.submit(job, above, self.now)

    def schedule(self) -> None:
        grants = self.scheduler.schedule(self.now)
        expected = self.reference.schedule(self.now)
        assert [(each.job, each.resource) for each in grants] == [
            (each.job, each.resource) for each in expected
        ]
        for name in self.scheduler.pauses(self.now):
            assert name not in self.asked, "a job was asked twice in one turn"
            entry = self.reference.live[name]
            assert not entry.is_waiting
            assert entry.lender is entry.borrower is None
            assert entry.resource in PAUSABLE
            assert self.reference.policy != "fifo"
            self.asked.add(name)

    def progress(self, job_id: str, tokens: int) -> None:
        used = self.reference.live[job_id].used + tokens
        self.scheduler.progress(job_id, used, self.now)
        self.reference.progress(job_id, used)

    def pause(self, job_id: str) -> None:
        self.asked.discard(job_id)
        self.scheduler.pause(job_id, self.now)
        self.reference.pause(job_id, self.now)

    def release(self, job_id: str, used: int | None) -> None:
        self.asked.discard(job_id)
        self.scheduler.release(job_id, self.now, used=used)
        self.reference.release(job_id, used, self.now)
        self.scheduler.release(job_id, self.now)  # twice is harmless

    def pick(self, pick: object, *, running: bool) -> str:
        assert isinstance(pick, random.Random)
        entries = self.reference.running() if running else self.reference.waiting()
        return pick.choice(sorted(each.job.id for each in entries))

    def pausable(self) -> list[str]:
        """The running jobs that share their slot with none."""
        running = self.reference.running()
        return [each.job.id for each in running if each.lender is each.borrower is None]

    def parents(self) -> list[str]:
        """The jobs that others may run on behalf of."""
        live = self.reference.live.values()
        return [each.job.id for each in live if sum(1 for _ in each.ancestors()) < MAX_DEPTH - 1]

    def check(self) -> None:
        """Raises AssertionError where the two differ."""
        waiting, running = self.reference.waiting(), self.reference.running()
        assert self.scheduler.waiting == len(waiting)
        assert self.scheduler.running == len(running)
        for name, counts in self.scheduler.counts().items():
            assert counts.busy == counts.slots - self.reference.free(name) <= counts.slots
            in_line = [each for each in waiting if each.lender is None]
            assert counts.waiting == sum(name in each.choices for each in in_line)
        assert all(hint > 0 for hint in self.hints)
        for agent, limit in LIMITS.items():
            mine = sum(each.job.agent == agent and not each.is_exempt for each in running)
            assert limit is None or mine <= limit

    def drain(self) -> None:
        """Let all jobs run to their end: none is forgotten."""
        self.schedule()
        while self.reference.live:
            assert self.reference.running(), "jobs wait for ever"
            for entry in self.reference.running():
                self.release(entry.job.id, entry.used)
            self.schedule()
            self.check()
        assert (self.scheduler.waiting, self.scheduler.running) == (0, 0)

    def _check_loser(self, job_id: str) -> None:
        unstarted = [each for each in self.reference.waiting() if not each.resource]
        loser = self.reference.live[job_id]
        sizes = {each.top: sum(o.top == each.top for o in unstarted) for each in unstarted}
        assert sizes[loser.top] == max(sizes.values())
        assert loser.arrival == max(each.arrival for each in unstarted if each.top == loser.top)
