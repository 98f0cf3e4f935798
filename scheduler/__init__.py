"""Who runs next, and where: a pure scheduler and its thin async driver.

Knows jobs, slots and costs. Knows nothing of models, tools, MCP or event loops, except `driver`,
the only module here that awaits.
"""

from scheduler.driver import Lease, SchedulerDriver
from scheduler.jobs import (
    DeadlineMissedError,
    Grant,
    Job,
    Lane,
    NoResourceError,
    QueueFullError,
    SchedulerError,
)
from scheduler.scheduler import ResourceCounts, Scheduler

__all__ = [
    "DeadlineMissedError",
    "Grant",
    "Job",
    "Lane",
    "Lease",
    "NoResourceError",
    "QueueFullError",
    "ResourceCounts",
    "Scheduler",
    "SchedulerDriver",
    "SchedulerError",
]
