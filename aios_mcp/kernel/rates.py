"""Calls per minute: one number of state per agent.

The generic cell rate algorithm (ITU-T I.371): each call moves a theoretical arrival time on by one
interval, and is refused while that time is more than the burst ahead.
"""

from aios_mcp.errors import RateLimitedError
from aios_mcp.kernel.agents import Agent

_BURST_SECONDS = 60.0


class Rates:
    """Lets each agent make its calls of a minute at once, then evenly.

    Invariant: in any window of `t` seconds at most `rate * (1 + t / 60)` calls pass.
    """

    def __init__(self) -> None:
        self._arrivals: dict[str, float] = {}

    def take(self, agent: Agent, now: float) -> None:
        """Count one call.

        Raises:
            RateLimitedError: The agent's calls are used up; says when the next will pass.
        """
        per_minute = agent.allowance.calls_per_minute
        if per_minute is None:
            return
        interval = 60.0 / per_minute
        arrival = max(self._arrivals.get(agent.name, now), now)
        early = arrival + interval - now - _BURST_SECONDS
        # A nanosecond of slack: sums of floats must not refuse the last call of a burst.
        if early > 1e-9:
            raise RateLimitedError(
                agent.name, per_minute=per_minute, retry_after_seconds=round(early, 3)
            )
        self._arrivals[agent.name] = arrival + interval
