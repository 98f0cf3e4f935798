"""Keeps at most one connection to a server: opens it at need, and waits longer after each failure.

Only waiting is asynchronous: no await stands between a check and the change that follows it.
"""

import logging
import math
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from backends.errors import ToolServerTimeoutError, ToolServerUnavailableError
from backends.messages import ServerState
from backends.tool_servers.connection import Connection, OnChange
from backends.tool_servers.eras import LEGACY, Era
from backends.tool_servers.link import LinkClosedError, OpenLink, ProcessEndedError, own_tasks

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 30.0
_GIVE_UP_AFTER = 8
_GIVEN_UP_SECONDS = 300.0
_CLOSING = "is being closed"

logger = logging.getLogger(__name__)


def back_off_seconds(failures: int, jitter: float) -> float:
    """Give the wait after so many failures in a row: none after the first, then doubling.

    Args:
        failures: At least 1.
        jitter: In [0, 1); keeps servers that failed together from returning together.
    """
    if failures == 1:
        return 0.0
    return min(_FIRST_SECONDS * 2.0 ** (failures - 2), _LONGEST_SECONDS) * (1 - jitter / 2)


class Attempt:
    """One connection from its start to its end.

    Attributes:
        connection: Set once it is open.
        failure: Why it did not open.
        has_timed_out: It did not open in time.
        settled: It is open, or will never be.
        holding: Cancelled when it is lost.
    """

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.failure = ""
        self.has_timed_out = False
        self.settled = anyio.Event()
        self.holding = anyio.CancelScope()


class Supervisor:
    """Owns the connection to one server; each lives in a task of its own, never in a caller's.

    Attributes:
        opened: How many connections were opened so far.
        last_failure: Why the latest that failed did; fit for the wire.
    """

    def __init__(
        self,
        name: str,
        open_link: OpenLink,
        *,
        connect_seconds: float,
        tasks: TaskGroup,
        on_change: OnChange,
        jitter: Callable[[], float],
    ) -> None:
        self._name = name
        self._open_link = open_link
        self._connect_seconds = connect_seconds
        self._tasks = tasks
        self._on_change = on_change
        self._jitter = jitter
        self._attempt: Attempt | None = None
        self._era: Era | None = None
        self._failures = 0
        self._due = -math.inf
        self.opened = 0
        self.last_failure = ""

    @property
    def state(self) -> ServerState:
        """Say how the server is."""
        if self._attempt is not None:
            return "starting" if self._attempt.connection is None else "ready"
        if anyio.current_time() >= self._due:
            return "idle"
        return "failed" if self._has_given_up else "waiting"

    async def connection(self) -> tuple[Attempt, Connection]:
        """Give the open connection and its attempt; open one if there is none.

        Raises:
            ToolServerUnavailableError: It failed, or failed before and is not due again.
            ToolServerTimeoutError: It did not open in time.
        """
        attempt = self._attempt or self._start()
        if not attempt.settled.is_set():
            # Bounded: the owner settles it within the deadline for connecting.
            await attempt.settled.wait()
        if attempt.connection is not None:
            return attempt, attempt.connection
        if attempt.has_timed_out:
            raise ToolServerTimeoutError(f"tool server {self._name!r} {attempt.failure}")
        raise self._unavailable(attempt.failure)

    def praise(self) -> None:
        """Take note that the server did its work: its failures lie behind it."""
        self._failures = 0

    def lost(self, attempt: Attempt, reason: LinkClosedError) -> ToolServerUnavailableError:
        """Take note that a connection is of no more use; give the error for its callers."""
        if attempt is self._attempt:
            self._attempt = None
            self._failures += 1
            wait = _GIVEN_UP_SECONDS if self._has_given_up else self._wait_seconds(reason)
            self._due = anyio.current_time() + wait
            self.last_failure = str(reason)
            self._on_change()
            logger.log(
                logging.DEBUG if str(reason) == _CLOSING else logging.WARNING,
                "a tool server was lost",
                extra={"server": self._name, "reason": str(reason), "wait_seconds": wait},
            )
        if not attempt.settled.is_set():
            attempt.failure = str(reason)
            attempt.settled.set()
        attempt.holding.cancel()
        return self._unavailable(str(reason))

    @property
    def _has_given_up(self) -> bool:
        return self._failures >= _GIVE_UP_AFTER

    def _wait_seconds(self, reason: LinkClosedError) -> float:
        return max(back_off_seconds(self._failures, self._jitter()), reason.retry_after_seconds)

    def _unavailable(self, reason: str) -> ToolServerUnavailableError:
        left = max(0.0, self._due - anyio.current_time())
        return ToolServerUnavailableError(
            f"tool server {self._name!r} {reason}",
            retry_after_seconds=None if self._has_given_up else round(left, 3),
        )

    def _start(self) -> Attempt:
        if anyio.current_time() < self._due:
            raise self._unavailable(self.last_failure)
        attempt = self._attempt = Attempt()
        self._tasks.start_soon(self._own, attempt, name=f"tool server {self._name}")
        return attempt

    async def _own(self, attempt: Attempt) -> None:
        reason = LinkClosedError(_CLOSING)
        try:
            try:
                await self._hold(attempt)
            except ProcessEndedError:
                if self._era is not None:
                    raise
                # Some servers of the older era die of being asked for the newer one.
                self._era = LEGACY
                await self._hold(attempt)
        except LinkClosedError as error:
            reason = error
        except Exception:
            logger.exception("a tool server failed in an unforeseen way")
            reason = LinkClosedError("failed in an unforeseen way; see the log")
        finally:
            self.lost(attempt, reason)

    async def _hold(self, attempt: Attempt) -> None:
        """Open a connection and keep it until it is lost.

        Raises:
            LinkClosedError: It was lost, for this reason.
        """
        reason = LinkClosedError(_CLOSING)
        async with self._open_link() as link, own_tasks() as tasks:
            connection = Connection(
                link, on_change=self._on_change, patience_seconds=self._connect_seconds
            )

            async def receive() -> None:
                nonlocal reason
                reason = await connection.receive()
                # At once: a call that comes while this link is taken down gets a new one.
                if attempt.connection is not None:
                    self.lost(attempt, reason)
                tasks.cancel_scope.cancel()

            tasks.start_soon(receive)
            with anyio.move_on_after(self._connect_seconds) as limit:
                self._era = await connection.open(self._era)
            if limit.cancelled_caught:
                attempt.has_timed_out = True
                raise LinkClosedError(f"did not answer within {self._connect_seconds:g} s")
            attempt.connection = connection
            attempt.settled.set()
            self.opened += 1
            with attempt.holding:
                reason = await connection.attend()
                self.lost(attempt, reason)
            await link.drain()
        raise reason
