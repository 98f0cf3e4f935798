"""What a running call says of itself, as MCP progress notifications.

The newest state wins: telling it costs the worker nothing, however slowly the client reads. A call
in line says how many are in front of it. While nothing new happens, a heartbeat keeps hosts from
giving up on a call that waits or works.
"""

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio
from anyio.abc import TaskGroup

from backends.messages import Piece, ToolProgress
from backends.text import well_formed
from scheduler import Lease

MESSAGE_CHARACTERS = 200
"""Hosts cut a message here."""

_INTERVAL_SECONDS = 0.1
_FIRST_HEARTBEAT_SECONDS = 1.0
_HEARTBEAT_SECONDS = 9.0
_LINE_SECONDS = 1.0
_FLUSH_SECONDS = 1.0
_STEP = 0.001

logger = logging.getLogger(__name__)


Tell: TypeAlias = Callable[[float, float | None, str | None], Awaitable[None]]
"""Sends one progress notification: how far, of what, and a message; nothing to a client that
asked for none."""


class Report:
    """The state of one running call.

    Invariant: the numbers sent only ever rise (`tests/server/test_progress.py`).
    """

    def __init__(self, waiting: Callable[[], str], tasks: TaskGroup) -> None:
        self._waiting = waiting
        self._tasks = tasks
        self._lease: Lease | None = None
        self._in_front: int | None = None
        self._text = ""
        self._done = 0.0
        self._total: float | None = None
        self._sent = 0.0
        self._started = anyio.current_time()
        self._version = 0
        self._told_version = 0
        self._changed = anyio.Event()

    async def piece(self, piece: Piece) -> None:
        """Take a piece of generated text; the message is the end of the text so far."""
        self._text = (self._text + piece.text)[-MESSAGE_CHARACTERS:]
        self._done += piece.tokens
        self._change()

    async def progress(self, progress: ToolProgress) -> None:
        """Take what a downstream tool reports."""
        self._done, self._total = progress.progress, progress.total
        if progress.message is not None:
            self._text = progress.message[:MESSAGE_CHARACTERS]
        self._change()

    def in_line(self, lease: Lease) -> None:
        """Take the place of the call in line, for as long as it waits there."""
        self._lease = lease
        self._tasks.start_soon(self._follow, lease)

    async def send_to(self, tell: Tell) -> None:
        """Send each change, and a heartbeat where there is none, until cancelled."""
        patience = _FIRST_HEARTBEAT_SECONDS
        while True:
            with anyio.move_on_after(patience):
                await self._changed.wait()
            patience = _HEARTBEAT_SECONDS
            await self._send(tell)
            await anyio.sleep(_INTERVAL_SECONDS)

    async def flush(self, tell: Tell) -> None:
        """Send the last change, if it was not."""
        if self._told_version != self._version:
            with anyio.move_on_after(_FLUSH_SECONDS):
                await self._send(tell)

    async def _follow(self, lease: Lease) -> None:
        while lease.is_waiting:
            looked = anyio.current_time()
            in_front = lease.position()
            if in_front != self._in_front:
                self._in_front = in_front
                self._change()
            await lease.moved()
            # Once a second at most, and all that wait in the same moment: their places are found
            # together.
            due = max(looked + _LINE_SECONDS, anyio.current_time())
            await anyio.sleep_until(math.ceil(due / _LINE_SECONDS) * _LINE_SECONDS)

    def _change(self) -> None:
        self._version += 1
        self._changed.set()

    async def _send(self, tell: Tell) -> None:
        version = self._version
        self._changed = anyio.Event()
        self._sent = max(self._sent + _STEP, self._done)
        try:
            await tell(self._sent, self._total, well_formed(self._text or self._heartbeat()))
        except Exception:
            # A call does not fail because its progress cannot be told.
            logger.exception("progress not sent")
        self._told_version = version  # not reached when cancelled: `flush` sends it again

    def _heartbeat(self) -> str:
        seconds = anyio.current_time() - self._started
        return f"{self._line() or self._waiting()} ({seconds:.0f} s)"[:MESSAGE_CHARACTERS]

    def _line(self) -> str:
        if self._lease is None or not self._lease.is_waiting or self._in_front is None:
            return ""
        if self._in_front == 0:
            return "next in line"
        return f"{self._in_front} call{'s' if self._in_front > 1 else ''} in front"


@asynccontextmanager
async def reporting(tell: Tell, waiting: Callable[[], str]) -> AsyncGenerator[Report]:
    """Send the progress of what happens in the block, which must not raise.

    Args:
        tell: Sends one notification.
        waiting: Says what is being waited for, as long as the call has said nothing itself.
    """
    tasks = anyio.create_task_group()
    report = Report(waiting, tasks)
    async with tasks:
        tasks.start_soon(report.send_to, tell)
        yield report
        tasks.cancel_scope.cancel()
    await report.flush(tell)
