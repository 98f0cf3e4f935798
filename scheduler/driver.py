"""The async edge of the scheduler: callers wait for a slot, then work in their own task.

There is no background loop. Every change of state wakes the jobs that may run; errors, deadlines
and cancellation follow the caller's own stack.
"""

import math
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Self, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from scheduler.jobs import DeadlineMissedError, Job, QueueFullError
from scheduler.scheduler import ResourceCounts, Scheduler


class Lease:
    """A slot held by a job for the length of an `async with` block; it is a `Turn` of its core.

    Attributes:
        job: The job that holds it.
        resource: Where the job runs.
        queue_seconds: How long it has waited, pauses included.
        used: Units of work done so far.
        is_waiting: It stands in line, for the first time or after a pause.
        since: When it began to wait or to run, on the event loop's clock.
    """

    __slots__ = (
        "_deadline",
        "_driver",
        "_granted",
        "_in_line",
        "_is_asked",
        "_refusal",
        "_scope",
        "_wanted",
        "is_waiting",
        "job",
        "queue_seconds",
        "resource",
        "since",
        "used",
    )

    def __init__(
        self, driver: "SchedulerDriver", job: Job, in_line: "InLine | None" = None
    ) -> None:
        self._driver = driver
        self._in_line = in_line
        self.job = job
        self.resource = ""
        self.queue_seconds = self.since = 0.0
        self.used = 0
        self.is_waiting = True
        self._deadline = math.inf if job.deadline is None else job.deadline
        self._is_asked = False
        # Made only by those who wait: most leases are granted at once.
        self._granted: anyio.Event | None = None
        self._wanted: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None
        self._refusal: QueueFullError | None = None

    async def __aenter__(self) -> Self:
        """Wait in line for the slot.

        Raises:
            SchedulerError: It was not to be had; see the subclasses.
        """
        self._driver.submit(self)
        if self.is_waiting:
            try:
                if self._in_line is not None:
                    self._in_line(self)
                await self._wait()
            except BaseException:
                self._driver.release(self)
                raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the slot back, whatever happened."""
        self._driver.release(self)

    def position(self) -> int | None:
        """Count the jobs in front of it; None if it does not wait."""
        return self._driver.position(self.job.id)

    async def moved(self) -> None:
        """Return when jobs have joined or left the line, or have got their slots."""
        await self._driver.moved()

    def report(self, used: int) -> None:
        """Say how much work has been done in all."""
        if used != self.used:
            self.used = used
            self._driver.progress(self)

    async def wanted(self, /) -> None:
        """Return when the slot is wanted for a job that goes first."""
        if self._is_asked:
            await checkpoint()
            return
        if self._wanted is None:
            self._wanted = anyio.Event()
        await self._wanted.wait()

    async def pass_on(self, /) -> None:
        """Give the slot up and wait for the next turn, for as long as the caller's scope allows."""
        self._deadline = math.inf  # it has started in time
        self._driver.pause(self)
        if self.is_waiting:
            await self._wait()
        else:
            await checkpoint()

    def grant(self, resource: str, now: float) -> None:
        """Tell the job that it may run: the driver's to call."""
        self.is_waiting = False
        self.resource = resource
        self.queue_seconds += now - self.since
        self.since = now
        if self._granted is not None:
            self._granted.set()

    def refuse(self, error: QueueFullError) -> None:
        """Tell the job that it lost its place: the driver's to call."""
        self._refusal = error
        if self._granted is not None:
            self._granted.set()

    def ask_back(self) -> None:
        """Tell the job that its slot is wanted: the driver's to call."""
        self._is_asked = True
        if self._wanted is not None:
            self._wanted.set()

    def stand_still(self, now: float) -> None:
        """Tell the job that it is in line again: the driver's to call."""
        self.is_waiting = True
        self.since = now
        self._is_asked = False
        self._wanted = None

    def wake_at(self, time: float) -> None:
        """Have the waiting job look again at a time, unless it does so before."""
        if self._scope is not None:
            self._scope.deadline = min(self._scope.deadline, time)

    async def _wait(self) -> None:
        self._granted = anyio.Event()
        while True:
            with anyio.CancelScope(deadline=self._deadline) as self._scope:
                self._driver.set_timer()
                await self._granted.wait()
            self._scope = None
            if self._refusal is not None:
                raise self._refusal
            if not self.is_waiting:
                return
            now = anyio.current_time()
            if now >= self._deadline:
                raise DeadlineMissedError(self.queue_seconds + now - self.since)
            self._driver.look_again(now)


InLine: TypeAlias = Callable[[Lease], None]
"""Told of a lease that has to wait for its slot."""


class SchedulerDriver:
    """Grants leases in the order the pure scheduler decides.

    Safe without locks: it runs on one event loop and never awaits while it changes state.
    Invariant (`tests/scheduler/test_driver.py`): whatever ends a lease - its block, an error, a
    deadline, cancellation before or after the grant - its slot is given back exactly once.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._leases: dict[str, Lease] = {}
        self._positions: Mapping[str, int] | None = None
        self._moved: anyio.Event | None = None

    def lease(self, job: Job, in_line: InLine | None = None) -> Lease:
        """Hold one slot for the length of an `async with` block; wait in line for it.

        Args:
            job: What the slot is for.
            in_line: Told of the lease if it has to wait.

        Entering raises:
            QueueFullError: The line is at its bound, or became so and a lighter agent went first.
            DeadlineMissedError: The job's deadline passed while it waited.
            DeadlineUnreachableError: It would pass.
            NestingTooDeepError: Too many jobs wait for one another.
            NoResourceError: Nothing can run the job.
        """
        return Lease(self, job, in_line)

    @property
    def leases(self) -> Collection[Lease]:
        """All leases, waiting and running, oldest first."""
        return self._leases.values()

    def position(self, job_id: str) -> int | None:
        """Count the jobs in front of a waiting one; None if it does not wait."""
        # All at once: where many ask between two moves, as those do who wait for one, it costs
        # them no more than one of them.
        if self._positions is None:
            self._positions = self._scheduler.positions()
        return self._positions.get(job_id)

    async def moved(self) -> None:
        """Return when jobs have joined or left the line, or have got their slots."""
        if self._moved is None:
            self._moved = anyio.Event()
        await self._moved.wait()

    def expected_wait(self, job_id: str) -> float | None:
        """Predict in how many seconds a waiting job starts; None if that is not known."""
        return self._scheduler.expected_wait(job_id, anyio.current_time())

    def counts(self) -> Mapping[str, ResourceCounts]:
        """Count slots and jobs, by resource."""
        return self._scheduler.counts()

    @property
    def waiting(self) -> int:
        """Number of jobs in line."""
        return self._scheduler.waiting

    @property
    def running(self) -> int:
        """Number of jobs that hold a slot."""
        return self._scheduler.running

    # --- For leases ----------------------------------------------------------------------------

    def submit(self, lease: Lease) -> None:
        """Put a lease in line, and grant it if a slot is free."""
        lease.since = now = anyio.current_time()
        loser = self._scheduler.submit(lease.job, now)
        self._leases[lease.job.id] = lease
        if loser is not None:
            self._leases.pop(loser.job_id).refuse(loser.error)
        self.look_again(now)

    def release(self, lease: Lease) -> None:
        """End a lease."""
        self._leases.pop(lease.job.id, None)
        now = anyio.current_time()
        self._scheduler.release(lease.job.id, now, used=lease.used)
        self.look_again(now)

    def progress(self, lease: Lease) -> None:
        """Count work, and ask slots back if it makes another go first."""
        now = anyio.current_time()
        self._scheduler.progress(lease.job.id, lease.used, now)
        self._ask_back(now)

    def pause(self, lease: Lease) -> None:
        """Put a running lease back in line."""
        now = anyio.current_time()
        lease.stand_still(now)
        self._scheduler.pause(lease.job.id, now, used=lease.used)
        self.look_again(now)

    def look_again(self, now: float) -> None:
        """Grant what can be granted and ask back what is wanted."""
        scheduler = self._scheduler
        if scheduler.waiting:
            for grant in scheduler.schedule(now):
                self._leases[grant.job.id].grant(grant.resource, now)
            if scheduler.waiting:
                self._ask_back(now)
                self.set_timer()
        self._positions = None
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    def set_timer(self) -> None:
        """Wake a waiting job when time alone lets it run."""
        timer = self._scheduler.next_timer()
        if timer is not None:
            self._leases[timer.job_id].wake_at(timer.at)

    def _ask_back(self, now: float) -> None:
        for job_id in self._scheduler.pauses(now):
            self._leases[job_id].ask_back()
