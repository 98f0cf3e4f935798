"""The async edge of the scheduler: callers wait for a slot, then work in their own task.

There is no background loop. Every change of state calls `_grant_ready`, which wakes the jobs that
may run; errors, deadlines and cancellation follow the caller's own stack.
"""

import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from scheduler.jobs import DeadlineMissedError, Job
from scheduler.scheduler import ResourceCounts, Scheduler


@dataclass(slots=True)
class Lease:
    """A slot held by a job until its `async with` block ends.

    Attributes:
        job: The job that holds it.
        resource: Where the job runs.
        queue_seconds: How long it waited.
        used: Units of work done so far; the holder adds to it.
    """

    job: Job
    resource: str = ""
    queue_seconds: float = 0.0
    used: int = 0
    granted: anyio.Event = field(default_factory=anyio.Event, repr=False)

    def report(self, used: int) -> None:
        """Say how much work has been done in all."""
        self.used = used

    async def wanted(self, /) -> None:
        """Return when the slot is wanted for a job that goes first."""
        await anyio.sleep_forever()

    async def pass_on(self, /) -> None:
        """Give the slot up and wait for the next turn."""


class SchedulerDriver:
    """Grants leases in the order the pure scheduler decides.

    Safe without locks: it runs on one event loop and never awaits while it changes state.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._leases: dict[str, Lease] = {}

    @asynccontextmanager
    async def lease(self, job: Job) -> AsyncGenerator[Lease]:
        """Hold one slot for the length of the block; wait in line for it.

        Raises:
            QueueFullError: The line is at its bound.
            DeadlineMissedError: The job's deadline passed while it waited.
            NoResourceError: Nothing can run the job.
        """
        start = anyio.current_time()
        self._scheduler.submit(job, start)
        lease = self._leases[job.id] = Lease(job)
        try:
            self._grant_ready()
            if not lease.granted.is_set():
                await self._wait(lease, start)
            yield lease
        finally:
            del self._leases[job.id]
            self._scheduler.release(job.id, anyio.current_time(), used=lease.used)
            self._grant_ready()

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

    async def _wait(self, lease: Lease, start: float) -> None:
        deadline = math.inf if lease.job.deadline is None else lease.job.deadline
        with anyio.CancelScope(deadline=deadline):
            await lease.granted.wait()
        lease.queue_seconds = anyio.current_time() - start
        if not lease.granted.is_set():
            raise DeadlineMissedError(lease.queue_seconds)

    def _grant_ready(self) -> None:
        for grant in self._scheduler.schedule(anyio.current_time()):
            lease = self._leases[grant.job.id]
            lease.resource = grant.resource
            lease.granted.set()
