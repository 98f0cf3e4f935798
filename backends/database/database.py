"""The file and its connections, on threads of their own.

None of the writes that share a commit is answered before it is on disk. Several kernels may share
the file; SQLite's own locks order their commits.
"""

import contextlib
import math
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import anyio
import anyio.to_thread
import apsw

from backends.database.connections import open_reader, open_writer
from backends.database.failures import store_error
from backends.database.migrations import Component, migrate
from backends.database.readers import Readers
from backends.database.rows import fetch
from backends.database.writer import Write, Writer
from backends.errors import StoreReadOnlyError

T = TypeVar("T")
Item = TypeVar("Item")
Work: TypeAlias = Callable[[apsw.Connection], T]
Batch: TypeAlias = Callable[[apsw.Connection, Sequence[Item]], Sequence[T | Exception]]


class Database:
    """One SQLite file. Made by `open_database`."""

    def __init__(self, path: Path, connection: apsw.Connection, *, patience: float) -> None:
        self._path = path
        self._connection = connection
        self._writer = Writer(connection, path, patience=patience)
        self._readers = Readers(path, max(1, min(4, os.cpu_count() or 1)))

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    async def write(self, work: Work[T], /) -> T:
        """Run `work` in a transaction that others may share; gives its value once it is durable.

        An exception of `work` undoes what it did, and nothing else. It may be run again, when
        another's failure undid both; so what it does outside the database must bear repetition. A
        caller that is cancelled still waits, and learns the outcome.

        Raises:
            StoreError: It could not be written; nothing of it was.
        """
        return await self.write_with_others(_run_each, work)

    async def write_with_others(self, batch: Batch[Item, T], item: Item, /) -> T:
        """Run `batch` over this item and those of its other callers at this time, as `write` does.

        Args:
            batch: Writes items in their order. For each it gives a value, or the exception that
                its caller is to get, of which nothing may have been written.
            item: This caller's.

        Raises:
            StoreError: It could not be written; nothing of it was.
        """
        write = Write(batch, item)
        self._writer.put(write)
        try:
            await write.done.wait()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await write.done.wait()
            # A cancelled scope cancels again at the next checkpoint; all else does so only once.
            if anyio.current_effective_deadline() > -math.inf:
                raise
        if isinstance(write.outcome, BaseException):
            raise write.outcome
        return cast("T", write.outcome)

    def send(
        self, batch: Batch[Item, object], item: Item, /, *, failed: Callable[[BaseException], None]
    ) -> anyio.Event:
        """Queue an item as `write_with_others` does, and give the event that its outcome is final.

        Args:
            batch: Writes items in their order.
            item: This caller's.
            failed: Told, before the event, of the exception that `write_with_others` would raise.

        Raises:
            StoreError: There is no room in the queue.
        """
        write = Write(batch, item, failed)
        self._writer.put(write)
        return write.done

    async def read(self, work: Work[T], /) -> T:
        """Run `work` on a connection that sees one consistent state and cannot write.

        Raises:
            StoreError: It could not be read, or took longer than 30 seconds.
        """
        return await self._readers.run(work)

    async def check(self) -> list[str]:
        """Give what SQLite's integrity check finds wrong; nothing if the file is sound."""

        def integrity() -> list[str]:
            # A connection of its own: one that has looked at a full-text index before others wrote
            # to it reports damage that is not there.
            try:
                with contextlib.closing(open_reader(self._path)) as reader:
                    rows = fetch(reader, "PRAGMA integrity_check")
            except apsw.Error as exc:
                raise store_error(exc, self._path) from exc
            return [str(row[0]) for row in rows if row[0] != "ok"]

        return await anyio.to_thread.run_sync(integrity)

    async def backup(self, target: Path) -> None:
        """Copy the whole file to `target` while it is in use."""

        def copy(connection: apsw.Connection) -> None:
            copied = apsw.Connection(str(target))
            with copied.backup("main", connection, "main") as backup:
                while not backup.done:
                    backup.step(1000)
            copied.close()

        await self.read(copy)

    def close(self) -> None:
        """Commit what waits, then close all connections. Not for the event loop's thread."""
        self._writer.end()
        self._readers.end()
        self._connection.close()


@asynccontextmanager
async def open_database(
    path: Path, components: Sequence[Component], *, patience: float = 10.0
) -> AsyncGenerator[Database]:
    """Open the file, made if it is not there, and bring its tables up to date.

    Args:
        path: The file.
        components: Owners of its tables.
        patience: Seconds after which a write that still waits in line is refused.

    Raises:
        StoreReadOnlyError: The directory or the file cannot be written.
        StoreError: The file is damaged or was written by a newer version.
    """
    connection = await anyio.to_thread.run_sync(_open, path, components)
    database = Database(path, connection, patience=patience)
    try:
        yield database
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(database.close)


def _run_each(connection: apsw.Connection, works: Sequence[Work[T]]) -> list[T | Exception]:
    return [work(connection) for work in works]


def _open(path: Path, components: Sequence[Component]) -> apsw.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StoreReadOnlyError(
            "the data directory cannot be made; give this user the right to write there, or set"
            " kernel.data_dir to another directory"
        ) from exc
    try:
        writer = open_writer(path)
        try:
            migrate(writer, components)
        except BaseException:
            writer.close()
            raise
    except apsw.Error as exc:
        raise store_error(exc, path) from exc
    return writer
