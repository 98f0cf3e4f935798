"""Budget that calls at work hold and may give back: a call that has no room for its own waits.

A call holds the most it may cost, and nearly always uses less. Refusing what does not fit beside
such holds would refuse what the budget covers in the end.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio

from backends.errors import OverdrawnError

T = TypeVar("T")


@dataclass(slots=True)
class _Line:
    """The calls of one account: `users` in all, of which `open` hold budget or are about to."""

    open: int = 0
    users: int = 0
    changes: int = 0
    # Made only by those who wait: most calls have room at once.
    turn: anyio.Lock | None = None
    changed: anyio.Event | None = None

    async def attempt(self, opening: Callable[[], Awaitable[T]]) -> T:
        self.open += 1  # before it is known: who is refused meanwhile must not think itself alone
        try:
            return await opening()
        except BaseException:
            self.close_one()
            raise

    def close_one(self) -> None:
        self.open -= 1
        self.changes += 1
        if self.changed is not None:
            self.changed.set()
            self.changed = None

    async def wait_for_change(self) -> None:
        self.changed = self.changed or anyio.Event()
        await self.changed.wait()


class Headroom:
    """A line for each account; who came first gets what is given back.

    Invariant (`tests/kernel/test_headroom.py`): a call is refused only when no other of its account
    holds budget that it could still give back, or when its patience is over.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    async def open(
        self, account: str, opening: Callable[[], Awaitable[T]], *, within_seconds: float
    ) -> T:
        """Open a call as soon as there is room; `close` it when it is settled.

        Args:
            account: Whose budget.
            opening: Sets the budget aside, or raises OverdrawnError; tried anew after each change.
            within_seconds: Longest wait.

        Raises:
            OverdrawnError: There is no room, or was none in time.
        """
        line = self._lines.setdefault(account, _Line())
        line.users += 1
        try:
            return await _opened(line, opening, within_seconds)
        except BaseException:
            self._leave(account, line)
            raise

    def close(self, account: str) -> None:
        """Say that a call is settled: what it did not use is there for others."""
        line = self._lines[account]
        line.close_one()
        self._leave(account, line)

    def _leave(self, account: str, line: _Line) -> None:
        line.users -= 1
        if not line.users:
            del self._lines[account]


async def _opened(line: _Line, opening: Callable[[], Awaitable[T]], within_seconds: float) -> T:
    refusal: OverdrawnError | None = None
    if line.turn is None or not line.turn.locked():  # else others were here before
        try:
            return await line.attempt(opening)
        except OverdrawnError as exc:
            refusal = exc
    with anyio.move_on_after(within_seconds):
        line.turn = line.turn or anyio.Lock()
        async with line.turn:
            while True:
                before = line.changes
                try:
                    return await line.attempt(opening)
                except OverdrawnError as exc:
                    refusal = exc
                if line.changes != before + 1:
                    continue  # others gave some back while it was being refused
                if not line.open:
                    raise refusal
                await line.wait_for_change()
    if refusal is None:  # its turn never came: whether there is room now is for the last attempt
        return await line.attempt(opening)
    raise refusal
