"""The scheduler's invariants under every policy, over random runs, against a plain list of jobs."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from scheduler import Job, QueueFullError, Scheduler
from scheduler.policies import Deadline, Fair, Fifo, Policy, Priority

SLOTS = {"gpu0": 2, "gpu1": 1, "cpu": 3}
MAX_WAITING = 12
MAX_PER_AGENT = 6
LIMITS = {"a": None, "b": 1, "c": 2}


class SchedulerMachine(RuleBasedStateMachine):
    jobs: Bundle[str] = Bundle("jobs")

    def policy(self) -> Policy:
        return Fifo()

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(
            SLOTS, self.policy(), max_waiting=MAX_WAITING, max_waiting_per_agent=MAX_PER_AGENT
        )
        self.count = 0
        self.now = 0.0
        self.waiting: dict[str, Job] = {}
        self.running: dict[str, tuple[Job, str]] = {}
        self.started: set[str] = set()

    @rule(
        target=jobs,
        agent=st.sampled_from("abc"),
        resources=st.lists(st.sampled_from(sorted(SLOTS)), min_size=1, unique=True),
        cost=st.integers(0, 500),
    )
    def submit(self, agent: str, resources: list[str], cost: int) -> str:
        self.count += 1
        job = Job(
            id=str(self.count),
            agent=agent,
            resources=tuple(resources),
            agent_limit=LIMITS[agent],
            cost=cost,
        )
        mine = sum(1 for other in self.waiting.values() if other.agent == agent)
        is_full = len(self.waiting) >= MAX_WAITING or mine >= MAX_PER_AGENT
        try:
            self.scheduler.submit(job, self.now)
        except QueueFullError:
            assert is_full
        else:
            assert not is_full
            self.waiting[job.id] = job
        return job.id

    @rule(seconds=st.floats(0, 10))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def schedule(self) -> None:
        for grant in self.scheduler.schedule(self.now):
            job = self.waiting.pop(grant.job.id)
            assert grant.resource in job.resources
            assert job.id not in self.started, "a job ran twice"
            self.started.add(job.id)
            earlier = [
                other
                for other in self.waiting.values()
                if int(other.id) < int(job.id)
                and other.agent == job.agent
                and other.resources == job.resources
            ]
            assert not earlier, "a later job overtook one like it"
            self.running[job.id] = (job, grant.resource)
        for job in self.waiting.values():
            has_slot = any(self.free(name) > 0 for name in job.resources)
            assert not has_slot or self.is_at_limit(job), "a slot stayed free while a job waited"

    @rule(job_id=consumes(jobs), used=st.integers(0, 500))
    def release(self, job_id: str, used: int) -> None:
        self.scheduler.release(job_id, self.now, used=used)
        self.scheduler.release(job_id, self.now)  # twice is harmless
        self.waiting.pop(job_id, None)
        self.running.pop(job_id, None)

    @invariant()
    def counts_add_up(self) -> None:
        counts = self.scheduler.counts()
        for name, slots in SLOTS.items():
            assert counts[name].busy == slots - self.free(name)
            assert 0 <= counts[name].busy <= slots
            waiting = sum(name in job.resources for job in self.waiting.values())
            assert counts[name].waiting == waiting
        assert self.scheduler.waiting == len(self.waiting)
        assert self.scheduler.running == len(self.running)

    @invariant()
    def limits_hold(self) -> None:
        for agent, limit in LIMITS.items():
            assert limit is None or self.running_of(agent) <= limit

    def free(self, name: str) -> int:
        return SLOTS[name] - sum(1 for _, at in self.running.values() if at == name)

    def running_of(self, agent: str) -> int:
        return sum(1 for job, _ in self.running.values() if job.agent == agent)

    def is_at_limit(self, job: Job) -> bool:
        return job.agent_limit is not None and self.running_of(job.agent) >= job.agent_limit


class FairMachine(SchedulerMachine):
    def policy(self) -> Policy:
        return Fair({"a": 2.0, "c": 0.5})


class PriorityMachine(SchedulerMachine):
    def policy(self) -> Policy:
        return Priority(ageing_seconds=5.0)


class DeadlineMachine(SchedulerMachine):
    def policy(self) -> Policy:
        return Deadline()


RUNS = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestFifo = SchedulerMachine.TestCase
TestFair = FairMachine.TestCase
TestPriority = PriorityMachine.TestCase
TestDeadline = DeadlineMachine.TestCase
for each in (TestFifo, TestFair, TestPriority, TestDeadline):
    each.settings = RUNS
