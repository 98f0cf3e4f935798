"""The file and its connections, on threads of their own.

Writes that arrive while a commit is under way share the next one: each runs in a savepoint of its
own, and none is answered before the commit that holds it is on disk. Several kernels may share the
file; SQLite's own locks order their commits.
"""

import contextlib
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import anyio
import anyio.to_thread
import apsw

from backends.database.connections import open_reader, open_writer, stop_after
from backends.database.failures import store_error
from backends.database.migrations import Component, migrate
from backends.database.rows import fetch
from backends.errors import StoreError, StoreReadOnlyError

T = TypeVar("T")
Work = Callable[[apsw.Connection], T]

_LARGEST_GROUP = 64
_MAX_PENDING = 10_000
_READ_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class _Write(Generic[T]):
    """A write that waits for its commit; afterwards it holds a value or an error."""

    work: Work[T]
    done: anyio.Event = field(default_factory=anyio.Event)
    value: T | None = None
    error: BaseException | None = None


class Database:
    """One SQLite file. Made by `open_database`."""

    def __init__(self, path: Path, writer: apsw.Connection) -> None:
        self._path = path
        self._writer = writer
        self._pending: list[_Write[object]] = []
        self._has_pending = anyio.Event()
        self._is_closing = False
        self._write_thread = anyio.CapacityLimiter(1)
        self._read_threads = anyio.CapacityLimiter(max(1, min(4, os.cpu_count() or 1)))
        self._idle_readers: list[apsw.Connection] = []

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    async def write(self, work: Work[T], /) -> T:
        """Run `work` in a transaction; its value is returned once it is durable.

        An exception of `work` undoes what it did, and nothing else. Cancelling the caller while it
        waits does not take the write back: it may still be committed.

        Raises:
            StoreError: It could not be written; nothing of it was.
        """
        if self._is_closing or len(self._pending) >= _MAX_PENDING:
            raise StoreError("the database is closing" if self._is_closing else "too many writes")
        write = _Write(work)
        self._pending.append(write)  # type: ignore[arg-type]
        self._has_pending.set()
        await write.done.wait()
        if write.error is not None:
            raise write.error
        return write.value  # type: ignore[return-value]

    async def read(self, work: Work[T], /) -> T:
        """Run `work` on a connection that sees one consistent state and cannot write.

        Raises:
            StoreError: It could not be read, or took longer than 30 seconds.
        """
        return await anyio.to_thread.run_sync(
            self._read, work, limiter=self._read_threads, abandon_on_cancel=False
        )

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

        return await anyio.to_thread.run_sync(integrity, limiter=self._read_threads)

    async def backup(self, target: Path) -> None:
        """Copy the whole file to `target` while it is in use."""

        def copy(connection: apsw.Connection) -> None:
            copied = apsw.Connection(str(target))
            with copied.backup("main", connection, "main") as backup:
                while not backup.done:
                    backup.step(1000)
            copied.close()

        await self.read(copy)

    async def run_writer(self) -> None:
        """Commit what arrives until `close`; the owner's task group runs it."""
        while True:
            await self._has_pending.wait()
            group, self._pending = self._pending[:_LARGEST_GROUP], self._pending[_LARGEST_GROUP:]
            if not group:
                if self._is_closing:
                    return
                self._has_pending = anyio.Event()
                continue
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._commit, group, limiter=self._write_thread)
            for write in group:
                write.done.set()

    def begin_closing(self) -> None:
        """Refuse further writes; those that wait are still committed."""
        self._is_closing = True
        self._has_pending.set()

    def close(self) -> None:
        """Close all connections. Nothing may be under way."""
        for reader in self._idle_readers:
            reader.close()
        self._writer.close()

    def _read(self, work: Work[T]) -> T:
        try:
            reader = self._idle_readers.pop() if self._idle_readers else open_reader(self._path)
            try:
                stop_after(reader, _READ_SECONDS)
                reader.execute("BEGIN")  # one transaction, so one consistent state
                return work(reader)
            finally:
                if reader.in_transaction:
                    reader.execute("ROLLBACK")
                self._idle_readers.append(reader)
        except apsw.Error as exc:
            raise store_error(exc, self._path) from exc

    def _commit(self, group: Sequence[_Write[object]]) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for write in group:
                self._run_one(write)
            self._writer.execute("COMMIT")
        except apsw.Error as exc:
            self._undo()
            for write in group:
                write.error = store_error(exc, self._path)

    def _run_one(self, write: _Write[object]) -> None:
        self._writer.execute("SAVEPOINT one")
        try:
            write.value = write.work(self._writer)
        except BaseException as exc:  # handed to the caller, who waits for it
            if not self._writer.in_transaction:
                raise  # SQLite gave the whole transaction up: the group fails with it
            self._writer.execute("ROLLBACK TO one")
            is_sql = isinstance(exc, apsw.Error)
            write.error = store_error(exc, self._path) if is_sql else exc  # type: ignore[arg-type]
        self._writer.execute("RELEASE one")

    def _undo(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")


@asynccontextmanager
async def open_database(path: Path, components: Sequence[Component]) -> AsyncGenerator[Database]:
    """Open the file, made if it is not there, and bring its tables up to date.

    Raises:
        StoreReadOnlyError: The directory or the file cannot be written.
        StoreError: The file is damaged or was written by a newer version.
    """
    writer = await anyio.to_thread.run_sync(_open, path, components)
    database = Database(path, writer)
    try:
        async with anyio.create_task_group() as tg:
            tg.start_soon(database.run_writer)
            try:
                yield database
            finally:
                database.begin_closing()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(database.close)


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
