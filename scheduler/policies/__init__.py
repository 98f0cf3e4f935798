"""Ordering policies: which waiting job goes first."""

from scheduler.policies.base import Policy
from scheduler.policies.fifo import Fifo

__all__ = ["Fifo", "Policy"]
