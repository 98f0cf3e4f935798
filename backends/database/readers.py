"""The threads that read, each on a connection of its own."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar, cast

import anyio
import anyio.lowlevel
import apsw

from backends.database.connections import open_reader, stop_after
from backends.database.failures import store_error

T = TypeVar("T")

_READ_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class _Reading:
    """Something to be read; `done` is set once there is its outcome, a value or an exception."""

    work: Callable[[apsw.Connection], object]
    is_wanted: bool = True
    outcome: object = None
    done: anyio.Event = field(default_factory=anyio.Event)


class Readers:
    """Runs what reads on threads of its own: `anyio.to_thread` takes twice as long to get there."""

    def __init__(self, path: Path, most: int) -> None:
        """Start no thread yet.

        Args:
            path: Of the file.
            most: How many threads there may be.
        """
        self._path = path
        self._most = most
        self._loop = anyio.lowlevel.current_token()
        self._waiting: SimpleQueue[_Reading | None] = SimpleQueue()  # each has a task that waits
        self._threads: list[threading.Thread] = []
        self._readings = 0

    async def run(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run `work` on a connection that sees one consistent state; a cancelled caller waits.

        Raises:
            StoreError: It could not be read, or took longer than 30 seconds.
        """
        if self._readings >= len(self._threads) < self._most:
            thread = threading.Thread(target=self._serve, name="aios-mcp reader", daemon=True)
            self._threads.append(thread)
            thread.start()
        reading = _Reading(work)
        self._readings += 1
        self._waiting.put(reading)
        try:
            await reading.done.wait()
        except anyio.get_cancelled_exc_class():
            reading.is_wanted = False
            with anyio.CancelScope(shield=True):
                await reading.done.wait()
            raise
        finally:
            self._readings -= 1
        if isinstance(reading.outcome, BaseException):
            raise reading.outcome
        return cast("T", reading.outcome)

    def end(self) -> None:
        """Read what waits, then end the threads. Not for the event loop's thread."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        reader: apsw.Connection | None = None
        while reading := self._waiting.get():
            try:
                if reading.is_wanted:
                    reader = reader or open_reader(self._path)
                    reading.outcome = _read(reader, reading.work)
            except apsw.Error as exc:
                reading.outcome = store_error(exc, self._path)
            except BaseException as exc:  # noqa: BLE001 - its caller waits for it
                reading.outcome = exc
            self._tell(reading)
            del reading  # what was read is not held until there is something else to read
        if reader is not None:
            reader.close()

    def _tell(self, reading: _Reading) -> None:
        token = self._loop
        try:
            token.backend_class.run_sync_soon(reading.done.set, (), token.native_token)
        except anyio.RunFinishedError:
            return  # so there is no task that waits


def _read(reader: apsw.Connection, work: Callable[[apsw.Connection], T]) -> T:
    stop_after(reader, _READ_SECONDS)
    reader.execute("BEGIN")  # one transaction, so one consistent state
    try:
        return work(reader)
    finally:
        if reader.in_transaction:
            reader.execute("ROLLBACK")
