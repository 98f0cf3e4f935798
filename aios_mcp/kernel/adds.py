"""How many memories an agent may add a minute."""

import math
from collections import deque

from aios_mcp.errors import QuotaExceededError
from aios_mcp.kernel.agents import Agent

_MINUTE_SECONDS = 60.0


class Adds:
    """Counts the adds of the last minute.

    Invariant, shown by `tests/kernel/test_adds.py`: in no 60 seconds do more than an agent's adds a
    minute pass.
    """

    def __init__(self) -> None:
        self._passed: dict[str, deque[float]] = {}  # as many times each as the agent may add

    def take(self, agent: Agent, now: float) -> None:
        """Count one add.

        Raises:
            QuotaExceededError: The minute's adds are used up; says when the next will pass.
        """
        most = agent.allowance.adds_per_minute
        if most is None:
            return
        passed = self._passed.setdefault(agent.name, deque())
        while passed and passed[0] + _MINUTE_SECONDS <= now:
            passed.popleft()
        if len(passed) >= most:
            wait = passed[0] + _MINUTE_SECONDS - now
            raise QuotaExceededError(
                agent.name, per_minute=most, retry_after_seconds=math.ceil(wait * 1000) / 1000
            )
        passed.append(now)
