"""The scheduler as a pure state machine: time is an argument, nothing waits, nothing is read.

`submit` puts a job in line, `schedule` hands out free slots, `release` takes a slot back,
`cancel` forgets a waiting job. `driver` turns these calls into waiting coroutines.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.dispatcher import choose_resource
from scheduler.jobs import Grant, Job, NoResourceError, QueueFullError
from scheduler.policies import Policy
from scheduler.waiting import Line, Ticket

_SMOOTHING = 0.2
_FIRST_GUESS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ResourceCounts:
    """Slots of one resource and the jobs that could use them."""

    slots: int
    busy: int
    waiting: int


@dataclass(slots=True)
class _Running:
    grant: Grant
    started: float


class Scheduler:
    """Bounded lines over a fixed set of resources.

    Invariants, proven by `tests/scheduler/test_properties.py`:
        - a resource never runs more jobs than it has slots;
        - a job is waiting, running or unknown, never two of these, and runs once;
        - no slot stays free while a job that fits it and its owner's limit waits;
        - jobs with the same owner, resources and rank order start in order of arrival;
        - no agent runs more jobs of a group than its limit.
    """

    def __init__(
        self,
        slots: Mapping[str, int],
        policy: Policy,
        *,
        max_waiting: int = 256,
        max_waiting_per_agent: int = 16,
    ) -> None:
        self._slots = dict(slots)
        self._free = dict(slots)
        self._policy = policy
        self._max_waiting = max_waiting
        self._max_waiting_per_agent = max_waiting_per_agent
        self._lines: dict[tuple[str, ...], Line] = {}
        self._held_back: dict[tuple[str, str], Line] = {}
        self._tickets: dict[str, tuple[Ticket, Line]] = {}
        self._running: dict[str, _Running] = {}
        self._running_of: dict[tuple[str, str], int] = {}
        self._waiting_of: dict[str, int] = {}
        self._arrivals = 0
        self._mean_run_seconds = _FIRST_GUESS_SECONDS

    def submit(self, job: Job, now: float) -> None:
        """Put a job in line.

        Raises:
            QueueFullError: The agent's line or the line in all is at its bound.
            NoResourceError: None of the job's resources exists.
        """
        if job.id in self._tickets or job.id in self._running:
            raise ValueError(f"duplicate job id {job.id!r}")
        if not any(name in self._slots for name in job.resources):
            raise NoResourceError("nothing here can run this call")
        self._admit(job)
        rank = self._policy.rank(job, self._arrivals, now)
        ticket = Ticket(job, rank, self._arrivals, now)
        self._arrivals += 1
        self._waiting_of[job.agent] = self._waiting_of.get(job.agent, 0) + 1
        self._enqueue(ticket)

    def schedule(self, now: float) -> list[Grant]:
        """Grant free slots to waiting jobs in the policy's order."""
        grants: list[Grant] = []
        while (found := self._next_runnable()) is not None:
            line, resource = found
            ticket = line.pop()
            job = ticket.job
            if self._is_at_limit(job):
                self._hold_back(ticket)
                continue
            grant = Grant(job, resource)
            del self._tickets[job.id]
            self._forget_waiting(job)
            self._free[resource] -= 1
            key = (job.agent, job.group)
            self._running_of[key] = self._running_of.get(key, 0) + 1
            self._running[job.id] = _Running(grant, now)
            self._policy.start(job)
            grants.append(grant)
        return grants

    def release(self, job_id: str, now: float, *, used: int = 0) -> None:
        """Take back the slot of a running job and charge its owner; forget a waiting one.

        Unknown ids are ignored, so that releasing twice is harmless.
        """
        running = self._running.pop(job_id, None)
        if running is None:
            self._cancel(job_id)
            return
        job = running.grant.job
        self._free[running.grant.resource] += 1
        self._policy.end(job, used)
        elapsed = max(0.0, now - running.started)
        self._mean_run_seconds += _SMOOTHING * (elapsed - self._mean_run_seconds)
        key = (job.agent, job.group)
        self._running_of[key] -= 1
        if not self._running_of[key]:
            del self._running_of[key]
        self._let_forward(key)

    def position(self, job_id: str) -> int | None:
        """Count the jobs in front of a waiting one; None if it does not wait."""
        found = self._tickets.get(job_id)
        return None if found is None else found[1].count_before(found[0])

    @property
    def waiting(self) -> int:
        """Number of jobs in line."""
        return len(self._tickets)

    @property
    def running(self) -> int:
        """Number of jobs that hold a slot."""
        return len(self._running)

    def counts(self) -> Mapping[str, ResourceCounts]:
        """Count slots and jobs, by resource. A waiting job counts for each it could run on."""
        waiting = dict.fromkeys(self._slots, 0)
        for ticket, _ in self._tickets.values():
            for name in ticket.job.resources:
                if name in waiting:
                    waiting[name] += 1
        return {
            name: ResourceCounts(slots, slots - self._free[name], waiting[name])
            for name, slots in self._slots.items()
        }

    def _admit(self, job: Job) -> None:
        mine = self._waiting_of.get(job.agent, 0)
        if mine >= self._max_waiting_per_agent:
            raise QueueFullError(
                f"agent {job.agent!r}",
                limit=self._max_waiting_per_agent,
                retry_after_seconds=self._retry_after(job, mine),
            )
        if len(self._tickets) >= self._max_waiting:
            raise QueueFullError(
                "the kernel",
                limit=self._max_waiting,
                retry_after_seconds=self._retry_after(job, len(self._tickets)),
            )

    def _retry_after(self, job: Job, ahead: int) -> float:
        slots = sum(self._slots.get(name, 0) for name in job.resources)
        return round(max(0.1, (ahead + 1) * self._mean_run_seconds / max(1, slots)), 1)

    def _enqueue(self, ticket: Ticket) -> None:
        line = self._lines.setdefault(ticket.job.resources, Line())
        line.push(ticket)
        self._tickets[ticket.job.id] = (ticket, line)

    def _next_runnable(self) -> tuple[Line, str] | None:
        best: tuple[Ticket, Line, str] | None = None
        for line in self._lines.values():
            head = line.head()
            if head is None or (best is not None and best[0] < head):
                continue
            resource = choose_resource(head.job, self._free)
            if resource is not None:
                best = (head, line, resource)
        return None if best is None else best[1:]

    def _is_at_limit(self, job: Job) -> bool:
        limit = job.agent_limit
        return limit is not None and self._running_of.get((job.agent, job.group), 0) >= limit

    def _hold_back(self, ticket: Ticket) -> None:
        # Out of the decision path until one of the owner's own jobs ends: others must pass.
        line = self._held_back.setdefault((ticket.job.agent, ticket.job.group), Line())
        line.push(ticket)
        self._tickets[ticket.job.id] = (ticket, line)

    def _let_forward(self, key: tuple[str, str]) -> None:
        # All of them: which one fits a free slot is for the lines to say, and each keeps its place.
        line = self._held_back.pop(key, None)
        while line:
            self._enqueue(line.pop())

    def _cancel(self, job_id: str) -> None:
        found = self._tickets.pop(job_id, None)
        if found is None:
            return
        ticket, line = found
        line.drop(ticket)
        self._policy.end(ticket.job, 0)
        self._forget_waiting(ticket.job)

    def _forget_waiting(self, job: Job) -> None:
        self._waiting_of[job.agent] -= 1
        if not self._waiting_of[job.agent]:
            del self._waiting_of[job.agent]
