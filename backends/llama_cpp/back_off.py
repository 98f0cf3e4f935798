"""How long a worker that failed is left alone before it is started again."""

import math

import anyio

BACK_OFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)


class BackOff:
    """Waits longer after each failure in a row."""

    def __init__(self) -> None:
        self._failures = 0
        self._not_before = -math.inf

    def fail(self, *, for_good: bool) -> float:
        """Count a failure, after which it may never start again; give the seconds to wait."""
        wait = BACK_OFF_SECONDS[min(self._failures, len(BACK_OFF_SECONDS) - 1)]
        self._failures += 1
        self._not_before = math.inf if for_good else anyio.current_time() + wait
        return wait

    def succeed(self) -> None:
        """Forget the failures."""
        self._failures = 0

    @property
    def is_over(self) -> bool:
        """Whether it may start."""
        return anyio.current_time() >= self._not_before

    @property
    def seconds(self) -> float:
        """How long it may not start yet; 0.0 where it may, or never will."""
        if self._not_before == math.inf:
            return 0.0
        return max(0.0, self._not_before - anyio.current_time())
