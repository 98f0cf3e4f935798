"""The thread that writes: what arrives while a commit is under way shares the next one."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import apsw

from backends.database.failures import store_error
from backends.errors import StoreBusyError, StoreError

_LARGEST_GROUP = 256
_MOST_WAITING = 40 * _LARGEST_GROUP

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Write:
    """Something to be written with others of its batch.

    Attributes:
        batch: Writes items, in their order; gives for each its value, or the exception to raise.
        item: What is given to `batch`.
        failed: Told on the event loop's thread of an exception, where nobody waits for the outcome.
        outcome: A value, or an exception: that it failed, until it is known to have been written.
        since: Seconds on the monotonic clock.
        done: Set once the outcome is final.
    """

    batch: Callable[[apsw.Connection, Sequence[Any]], Sequence[object]]
    item: object
    failed: Callable[[BaseException], None] | None = None
    outcome: object = field(default_factory=lambda: StoreError("the database failed"))
    since: float = field(default_factory=time.monotonic)
    done: anyio.Event = field(default_factory=anyio.Event)


class Writer:
    """Runs writes in groups on a thread of its own, and wakes the event loop once per group.

    A group is one transaction without savepoints, which would make a full-text index write out
    what it gathers. If one of the group fails, all is undone and its halves are tried apart, so
    that in the end only what fails by itself has failed.
    """

    def __init__(self, connection: apsw.Connection, path: Path, *, patience: float) -> None:
        """Start.

        Args:
            connection: Nobody else's until `end` has returned.
            path: Of its file.
            patience: Seconds after which a write that still waits in line is refused.
        """
        self._connection = connection
        self._path = path
        self._patience = patience
        self._loop = anyio.lowlevel.current_token()
        self._thread = threading.Thread(target=self._run, name="aios-mcp writer", daemon=True)
        self._turn = threading.Condition()  # guards the two below
        self._waiting: deque[Write] = deque()
        self._is_ending = False
        self._thread.start()

    def put(self, write: Write) -> None:
        """Queue a write.

        Raises:
            StoreError: The queue is full, or the writer is ending.
        """
        with self._turn:
            if self._is_ending:
                raise StoreError("the database is closing")
            if len(self._waiting) >= _MOST_WAITING:
                raise StoreBusyError("too many writes wait for the database; try again")
            self._waiting.append(write)
            self._turn.notify()

    def end(self) -> None:
        """Refuse further writes, commit those that wait, end the thread. Not for the event loop."""
        with self._turn:
            self._is_ending = True
            self._turn.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._take():
            late = time.monotonic() - self._patience
            for write in group:
                if write.since < late:
                    write.outcome = StoreBusyError("the database cannot keep up; try again")
            try:
                self._commit([write for write in group if write.since >= late])
            except Exception:
                logger.exception("a group of writes could not be undone")
            try:
                token = self._loop
                token.backend_class.run_sync_soon(_end, (group,), token.native_token)
            except anyio.RunFinishedError:
                count = len(group)
                logger.warning("writes ended after their event loop", extra={"writes": count})

    def _take(self) -> Sequence[Write]:
        with self._turn:
            self._turn.wait_for(lambda: self._waiting or self._is_ending)
            count = min(len(self._waiting), _LARGEST_GROUP)
            return [self._waiting.popleft() for _ in range(count)]

    def _commit(self, group: Sequence[Write]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                outcomes = _work(self._connection, group)
            except BaseException as exc:  # noqa: BLE001 - its caller waits for it
                self._undo()
                self._divide(group, exc)
                return
            self._connection.execute("COMMIT")
        except apsw.Error as exc:  # of the transaction itself, so of everyone in it
            self._undo()
            outcomes = [(write, store_error(exc, self._path)) for write in group]
        for write, outcome in outcomes:
            write.outcome = outcome

    def _divide(self, group: Sequence[Write], exc: BaseException) -> None:
        if len(group) == 1:
            error = store_error(exc, self._path) if isinstance(exc, apsw.Error) else exc
            group[0].outcome = error
            return
        middle = len(group) // 2
        self._commit(group[:middle])
        self._commit(group[middle:])

    def _undo(self) -> None:
        if self._connection.in_transaction:  # SQLite gives some up by itself
            self._connection.execute("ROLLBACK")


def _end(group: Sequence[Write]) -> None:
    for write in group:
        if write.failed is not None and isinstance(write.outcome, BaseException):
            write.failed(write.outcome)
        write.done.set()


def _work(connection: apsw.Connection, group: Sequence[Write]) -> list[tuple[Write, object]]:
    batches: dict[object, list[Write]] = {}
    for write in group:
        batches.setdefault(write.batch, []).append(write)
    outcomes: list[tuple[Write, object]] = []
    for writes in batches.values():
        results = writes[0].batch(connection, [write.item for write in writes])
        outcomes += zip(writes, results, strict=True)
    return outcomes
