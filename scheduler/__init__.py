"""Who runs next, and where: a pure scheduler and its thin async driver.

Knows jobs, slots and costs. Knows nothing of models, tools, MCP or event loops, except `driver`,
the only module here that awaits.
"""

from scheduler.driver import InLine, Lease, SchedulerDriver
from scheduler.jobs import (
    DeadlineMissedError,
    DeadlineUnreachableError,
    Grant,
    Job,
    Lane,
    NestingTooDeepError,
    NoResourceError,
    QueueFullError,
    SchedulerError,
)
from scheduler.lanes import Lanes
from scheduler.scheduler import Loser, ResourceCounts, Scheduler, Timer

__all__ = [
    "DeadlineMissedError",
    "DeadlineUnreachableError",
    "Grant",
    "InLine",
    "Job",
    "Lane",
    "Lanes",
    "Lease",
    "Loser",
    "NestingTooDeepError",
    "NoResourceError",
    "QueueFullError",
    "ResourceCounts",
    "Scheduler",
    "SchedulerDriver",
    "SchedulerError",
    "Timer",
]
