"""Ordering policies: which waiting job goes first."""

from scheduler.policies.base import Policy
from scheduler.policies.deadline import Deadline
from scheduler.policies.fair import Fair
from scheduler.policies.fifo import Fifo
from scheduler.policies.priority import Priority
from scheduler.policies.round_robin import RoundRobin

__all__ = ["Deadline", "Fair", "Fifo", "Policy", "Priority", "RoundRobin"]
