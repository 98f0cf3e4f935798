"""The scheduler as a pure state machine: time is an argument, nothing waits, nothing is read.

`submit` puts a job in line, `schedule` hands out free slots, `progress` counts work, `pauses` names
the jobs that should stand still, `pause` puts one back in line, `release` takes a slot back or
forgets a waiting job. `driver` turns these calls into waiting coroutines.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from scheduler.admission import Admission
from scheduler.dispatcher import Dispatcher
from scheduler.jobs import (
    DeadlineMissedError,
    DeadlineUnreachableError,
    Grant,
    Job,
    NestingTooDeepError,
    QueueFullError,
)
from scheduler.lanes import Lanes
from scheduler.lines import Lines
from scheduler.nesting import Loans
from scheduler.outlook import positions, surely_before
from scheduler.pausing import one_to_pause
from scheduler.policies import Policy
from scheduler.resources import Resource
from scheduler.tickets import Place, Ticket
from scheduler.waiting import Line

MAX_DEPTH = 4
"""How deep jobs may run on behalf of others."""

_BENEFIT_OF_DOUBT = 0.5


@dataclass(frozen=True, slots=True)
class ResourceCounts:
    """Slots of one resource and the jobs that could use them."""

    slots: int
    busy: int
    waiting: int


class Timer(NamedTuple):
    """A waiting job that takes another slot than it prefers if `schedule` is called at a time."""

    job_id: str
    at: float


class Loser(NamedTuple):
    """A job that waited and lost its place in line to one of a lighter agent."""

    job_id: str
    error: QueueFullError


class Scheduler:
    """Bounded lines over a fixed set of resources.

    Args:
        slots: By resource.
        policy: Who goes first; or a policy for each lane.
        max_waiting: Jobs that may wait in all, paused ones not counted.
        max_waiting_per_agent: Jobs of one agent that may wait.
        pausable: Resources whose jobs can stand still.

    Invariants, proven by `tests/scheduler/test_properties.py`, `test_model.py` and `test_fuzz.py`:
        - a resource never runs more jobs than it has slots, but for one nested job in the slot of
          each job that waits for it;
        - a job is waiting, running or unknown, never two of these, and starts once;
        - no slot stays free while a job waits that fits it, prefers no other, and whose owner is
          within its limit;
        - jobs with the same owner, resources and rank start in order of arrival, and go on in it;
        - no agent runs more jobs of a group than its limit;
        - the job that starts is the one that the policy puts first of all that could;
        - at most as many jobs stand still on a resource as it has slots.
    """

    def __init__(
        self,
        slots: Mapping[str, int],
        policy: Policy | Lanes,
        *,
        max_waiting: int = 256,
        max_waiting_per_agent: int = 16,
        pausable: Collection[str] = (),
    ) -> None:
        self._lanes = lanes = policy if isinstance(policy, Lanes) else Lanes(policy)
        self._resources = {
            name: Resource(name, count, is_pausable=name in pausable)
            for name, count in slots.items()
        }
        self._can_pause = bool(pausable)
        self._dispatcher = Dispatcher()
        self._admission = Admission(max_waiting, max_waiting_per_agent, self._start_seconds)
        self._lines = Lines(self._resources, lanes)
        self._loans = Loans(self._lines.push, self._lines.drop)
        self._tickets: dict[str, Ticket] = {}
        self._waiting = 0
        self._arrivals = 0

    def submit(self, job: Job, now: float) -> Loser | None:
        """Put a job in line; give the waiting job that lost its place to it, if one did.

        Raises:
            QueueFullError: The agent's line or the line in all is at its bound.
            DeadlineUnreachableError: At the speed of late, no slot will be free in time.
            NestingTooDeepError: The job's parents are too many.
            NoResourceError: None of the job's resources exists.
        """
        if job.id in self._tickets:
            raise ValueError(f"duplicate job id {job.id!r}")
        parent = self._tickets.get(job.parent) if job.parent else None
        if parent is not None and 1 + len(parent.ancestors()) >= MAX_DEPTH:
            raise NestingTooDeepError(MAX_DEPTH)
        band = self._lanes.band(job.lane if parent is None else min(job.lane, parent.lane))
        place = self._lines.place(job.resources, job.handicaps, band)
        loser = self._admission.find_room(job, is_nested=parent is not None)
        if job.deadline is not None:
            self._check_deadline(job, place, job.deadline - now)
        lost = None
        if loser is not None:
            error = self._admission.full(loser.job)
            lost = Loser(loser.job.id, error)
            self._leave(loser)
        share = self._lanes.shares[band].join(job)
        ticket = Ticket(job, share, self._arrivals, now, place, parent)
        self._arrivals += 1
        self._tickets[job.id] = ticket
        self._lanes.enter(ticket)
        ticket.rank = self._lanes.policies[band].rank(ticket, now)
        self._admission.add(ticket)
        self._waiting += 1
        if parent is None:
            self._lines.push(ticket)
        else:
            self._loans.enter(ticket)
        return lost

    def schedule(self, now: float) -> list[Grant]:
        """Grant free slots to waiting jobs in the policy's order, to paused ones among them."""
        grants: list[Grant] = []
        while (ticket := self._loans.next_ready()) is not None:
            assert ticket.lender is not None
            grants.append(self._start(ticket, self._resources[ticket.lender.resource], now))
        while self._waiting and (found := self._next_runnable(now)) is not None:
            line, resource = found
            ticket = self._lines.pop(line)
            resource.free -= 1
            if not ticket.is_exempt:
                ticket.share.running += 1
            grants.append(self._start(ticket, resource, now))
        return grants

    def progress(self, job_id: str, used: int, now: float) -> None:
        """Learn how much work a running job has done in all."""
        ticket = self._tickets.get(job_id)
        if ticket is not None and not ticket.is_waiting and used > ticket.used:
            ticket.used = used
            self._lanes.charge(ticket, is_over=False)

    def pauses(self, now: float) -> list[str]:
        """Name the running jobs that should give their slot up; each is named once a turn.

        One at a time for each line: its first job needs no more.
        """
        if not self._waiting or not self._can_pause:
            return []
        asked: list[str] = []
        for line in self._lines.active.values():
            before = line.asked
            if before is not None and before.is_asked:
                continue
            head = self._lines.head(line)
            running = None if head is None else one_to_pause(line, head, self._lanes)
            line.asked = running
            if running is not None:
                running.is_asked = True
                asked.append(running.job.id)
        return asked

    def pause(self, job_id: str, now: float, *, used: int | None = None) -> None:
        """Put a running job that stands still back in line, for a slot of the same resource.

        It keeps its rank. What its deadline says of its start is fulfilled.

        Raises:
            ValueError: It does not run, or shares its slot with a nested job.
        """
        ticket = self._tickets.get(job_id)
        if ticket is None or ticket.is_waiting:
            raise ValueError(f"job {job_id!r} does not run")
        if ticket.lender is not None or ticket.borrower is not None:
            raise ValueError(f"job {job_id!r} shares its slot with a nested one")
        if used is not None:
            self.progress(job_id, used, now)
        resource = self._resources[ticket.resource]
        ticket.ran_seconds += now - ticket.since
        ticket.since = now
        self._give_back(ticket, resource)
        ticket.is_waiting = True
        resource.paused += 1
        ticket.place = self._lines.place((resource.name,), (), ticket.band)
        self._waiting += 1
        self._lines.push(ticket)

    def release(self, job_id: str, now: float, *, used: int | None = None) -> None:
        """Take back the slot of a running job and charge its owner; forget a waiting one.

        Unknown ids are ignored, so that releasing twice is harmless.
        """
        ticket = self._tickets.get(job_id)
        if ticket is None:
            return
        if used is not None and ticket.has_started:
            ticket.used = used
        if not ticket.is_waiting:
            ticket.is_over = True
            resource = self._resources[ticket.resource]
            resource.measure(ticket.job.cost, ticket.ran_seconds + now - ticket.since)
            self._give_back(ticket, resource)
        self._leave(ticket)

    def next_timer(self) -> Timer | None:
        """Say when `schedule` must be called even if nothing else happens."""
        timers = [
            Timer(head.job.id, at)
            for line in self._lines.active.values()
            if line.has_handicaps
            and (head := self._lines.head(line)) is not None
            and (at := self._dispatcher.spill_at(line, head, self._lines.active.values()))
            < math.inf
        ]
        return min(timers, key=lambda timer: timer.at, default=None)

    def position(self, job_id: str) -> int | None:
        """Count the jobs in front of a waiting one as things stand; None if it does not wait."""
        return self.positions().get(job_id)

    def positions(self) -> Mapping[str, int]:
        """Count the jobs in front of each waiting one that could take a slot it could use.

        O(n log n) for all of them: for people, not for decisions.
        """
        return positions(self._lines.active.values(), self._lanes)

    def expected_wait(self, job_id: str, now: float) -> float | None:
        """Predict in how many seconds a waiting job starts; None if that is not known."""
        ahead = self.position(job_id)
        if ahead is None:
            return None
        line = self._lines.at(self._tickets[job_id].place)
        return line.seconds_for(ahead + 1) if line.is_measured else None

    @property
    def waiting(self) -> int:
        """Number of jobs in line, paused ones included."""
        return self._waiting

    @property
    def running(self) -> int:
        """Number of jobs that hold a slot."""
        return len(self._tickets) - self._waiting

    @property
    def remembered(self) -> int:
        """Number of agents whose past still counts."""
        return sum(map(len, self._lanes.shares))

    def counts(self) -> Mapping[str, ResourceCounts]:
        """Count slots and jobs, by resource. A waiting job counts for each it could run on."""
        waiting = dict.fromkeys(self._resources, 0)
        for line in self._lines.active.values():
            for choice in line.choices:
                waiting[choice.resource.name] += len(line)
        return {
            name: ResourceCounts(each.slots, each.slots - each.free, waiting[name])
            for name, each in self._resources.items()
        }

    # --- Lines ---------------------------------------------------------------------------------

    def _next_runnable(self, now: float) -> tuple[Line, Resource] | None:
        best: tuple[Line, Resource] | None = None
        first: Ticket | None = None
        for line in self._lines.active.values():
            for choice in line.choices:
                if choice.resource.free:
                    break
            else:
                continue
            head = self._lines.head(line)
            if head is None:
                continue
            resource: Resource | None = choice.resource
            if line.has_handicaps or head.job.affinity:
                resource = self._dispatcher.choose(line, head, self._lines.active.values(), now)
            if resource is not None and (first is None or self._lanes.goes_before(head, first)):
                best, first = (line, resource), head
        return best

    def _leave(self, ticket: Ticket) -> None:
        del self._tickets[ticket.job.id]
        if ticket.is_waiting:
            self._step_out(ticket)
        ticket.is_over = True
        shares = self._lanes.shares[ticket.band]
        top = ticket.share.top
        before = top.counter
        self._lanes.charge(ticket, is_over=True)
        if top.counter < before:
            shares.lower(top, ticket.job)
            self._lines.move_forward(top)
        shares.leave(ticket.share, ticket.job)
        self._lanes.leave(ticket)

    def _step_out(self, ticket: Ticket) -> None:
        self._waiting -= 1
        ticket.is_waiting = False
        if ticket.has_started:
            self._resources[ticket.resource].paused -= 1
        else:
            self._admission.remove(ticket)
        if ticket.queue is not None:
            self._lines.drop(ticket)
        if ticket.parent is not None:
            self._loans.forget(ticket)

    # --- Slots ---------------------------------------------------------------------------------

    def _start(self, ticket: Ticket, resource: Resource, now: float) -> Grant:
        job = ticket.job
        self._waiting -= 1
        if ticket.has_started:
            resource.paused -= 1
        else:
            self._admission.remove(ticket)
            if ticket.parent is not None:
                self._loans.forget(ticket)
            ticket.has_started = True
            self._dispatcher.note(job, resource)
        ticket.is_waiting = False
        ticket.since = now
        ticket.used_before = ticket.used
        ticket.resource = resource.name
        resource.running[job.id] = ticket
        self._lanes.charge(ticket, is_over=False)
        return Grant(job, resource.name)

    def _give_back(self, ticket: Ticket, resource: Resource) -> None:
        ticket.is_asked = False
        del resource.running[ticket.job.id]
        if (ticket.lender is None and ticket.borrower is None) or self._loans.settle(ticket):
            resource.free += 1
        if not ticket.is_exempt:
            ticket.share.running -= 1
            self._lines.let_forward(ticket)

    # --- Predictions ---------------------------------------------------------------------------

    def _start_seconds(self, job: Job, count: int) -> float:
        place = self._lines.place(job.resources, job.handicaps, self._lanes.band(job.lane))
        return self._lines.at(place).seconds_for(count, job.cost) / self._lanes.part(job)

    def _check_deadline(self, job: Job, place: Place, left_seconds: float) -> None:
        if left_seconds < 0:
            raise DeadlineMissedError(0.0)
        line = self._lines.at(place)
        if not line.is_measured:
            return
        ahead = surely_before(line, self._lanes.shares[place.band].find(job))
        wait = line.seconds_for(ahead)
        if wait * _BENEFIT_OF_DOUBT > left_seconds:
            raise DeadlineUnreachableError(wait_seconds=wait, left_seconds=left_seconds)
