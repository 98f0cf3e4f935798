"""A circuit breaker: spares an endpoint that fails, and its callers the wait. Time comes in."""

from typing import NewType

Ticket = NewType("Ticket", int)
"""Stands for one call that was let through; its outcome is reported with it."""

_PROBE_WAIT_SECONDS = 1.0


class Breaker:
    """Decides which calls may go to an endpoint.

    Closed, it lets all through. `max_failures` in a row open it for a back-off that doubles up to
    `longest_seconds`; `pause` opens it for as long as the endpoint asks. Then one call probes: its
    success closes the breaker, its failure opens it again.

    Invariants (`tests/backends/openai_compatible/test_breaker.py`): nothing passes before the time
    is up; one probe at a time; what became of calls of an earlier phase changes nothing; an
    endpoint that is well again is always found out.
    """

    def __init__(
        self,
        *,
        max_failures: int = 4,
        first_seconds: float = 1.0,
        longest_seconds: float = 60.0,
    ) -> None:
        self._max_failures = max_failures
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._failures = 0
        self._openings = 0
        self._until: float | None = None
        self._is_probing = False
        self._phase = 0

    @property
    def is_closed(self) -> bool:
        """Whether all calls are let through."""
        return self._until is None

    def admit(self, now: float) -> Ticket | None:
        """Let a call through, or None where it is not the time."""
        if self._until is not None:
            if self._is_probing or now < self._until:
                return None
            self._is_probing = True
            self._phase += 1
        return Ticket(self._phase)

    def wait_seconds(self, now: float) -> float:
        """Say how long a caller that was not let through should wait."""
        if self._until is None:
            return 0.0
        return max(self._until - now, _PROBE_WAIT_SECONDS if self._is_probing else 0.0)

    def answers(self, ticket: Ticket) -> None:
        """Take note that a call gets an answer: others need not wait for its end."""
        if ticket == self._phase:
            self._until = None
            self._is_probing = False

    def succeed(self, ticket: Ticket) -> None:
        """Take note that a call went well."""
        if ticket == self._phase:
            self.answers(ticket)
            self._failures = 0
            self._openings = 0

    def fail(self, ticket: Ticket, now: float) -> None:
        """Take note that the endpoint failed a call."""
        if ticket == self._phase:
            self._failures += 1
            if self._is_probing or self._failures >= self._max_failures:
                self.pause(ticket, now)

    def pause(self, ticket: Ticket, now: float, seconds: float | None = None) -> None:
        """Let nothing through for some seconds; None takes the next back-off."""
        if ticket == self._phase:
            backoff = self._first_seconds * 2.0 ** min(self._openings, 32)
            self._until = now + (
                min(backoff, self._longest_seconds) if seconds is None else seconds
            )
            self._openings += 1
            self._is_probing = False
            self._phase += 1

    def abandon(self, ticket: Ticket) -> None:
        """Take note that a call ended without telling anything of the endpoint."""
        if ticket == self._phase and self._is_probing:
            self._is_probing = False
            self._phase += 1
