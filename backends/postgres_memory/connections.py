"""Connections to PostgreSQL, used on threads, each by one piece of work at a time."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, LiteralString, Protocol, TypeAlias, TypeVar

import anyio
import anyio.to_thread
import psycopg
from psycopg import errors
from psycopg.sql import Composed

from backends.errors import StoreBusyError, StoreError, StoreFullError, StoreReadOnlyError

T = TypeVar("T")

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Work: TypeAlias = Callable[[Connection], T]
Values: TypeAlias = Mapping[str, object]

SCHEMA = "aios_mcp"

Rows: TypeAlias = list[tuple[Any, ...]]


class Run(Protocol):
    """Runs a statement by itself and gives its rows."""

    async def __call__(
        self, statement: LiteralString | Composed, values: Sequence[object] = (), /
    ) -> Rows:
        """Run it."""
        ...


_CONNECT_SECONDS = 10
_CANCEL_SECONDS = 5.0
_OPTIONS = (
    f"-c search_path={SCHEMA},public -c idle_in_transaction_session_timeout=60s -c timezone=UTC"
    " -c jit=off"  # which takes longer than any of these statements
)
_PATIENCE = "-c statement_timeout=30s -c lock_timeout=10s"
_LONG_PATIENCE = "-c statement_timeout=1h -c lock_timeout=1h"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSettings:
    """Where the database is.

    Attributes:
        url: `postgresql://user@host:port/database`, as libpq takes it.
        password: Of the user, or None where the server asks for none.
        connections: Most that are open at once.
        graph_rows: A namespace with so many memories is searched by a graph. All vectors of
            fewer are compared as fast.
    """

    url: str
    password: str | None = None
    connections: int = 8
    graph_rows: int = 20_000


class Connections:
    """At most so many connections, opened when they are needed."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._threads = anyio.CapacityLimiter(settings.connections)
        self._idle: list[Connection] = []  # append and pop are atomic, so no lock is needed

    async def write(self, work: Work[T], /) -> T:
        """Run `work` in a transaction and give its value once it is durable.

        It may be run again on another connection where the first had been closed meanwhile.

        Raises:
            StoreError: It could not be written. Where the connection broke at the commit itself,
                nobody knows whether it was; all else undoes it.
        """
        return await self._run(work, is_reading=False)

    async def read(self, work: Work[T], /) -> T:
        """Run `work` in a transaction that sees one consistent state and cannot write.

        Raises:
            StoreError: It could not be read.
        """
        return await self._run(work, is_reading=True)

    @asynccontextmanager
    async def apart(self) -> AsyncGenerator[Run]:
        """Open a connection of its own for statements that take long, each a transaction by itself.

        One whose caller is cancelled is cancelled on the server too, and waited for.

        Raises:
            StoreError: It could not be opened; so does what is run on it.
        """
        connection = await anyio.to_thread.run_sync(self._connect_apart, limiter=self._threads)
        try:
            yield partial(_run_apart, connection)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(connection.close)

    def close(self) -> None:
        """Close all connections; none is in use any more."""
        while self._idle:
            self._idle.pop().close()

    async def _run(self, work: Work[T], *, is_reading: bool) -> T:
        def run() -> T:
            while self._idle:
                with suppress(_StaleError):
                    return self._use(self._idle.pop(), work, is_reading, is_fresh=False)
            return self._use(self._connect(), work, is_reading, is_fresh=True)

        return await anyio.to_thread.run_sync(run, limiter=self._threads)

    def _use(self, connection: Connection, work: Work[T], is_reading: bool, *, is_fresh: bool) -> T:
        is_committing = False
        try:
            connection.read_only = is_reading
            value = work(connection)
            is_committing = True
            connection.commit()
        except psycopg.Error as exc:
            if connection.broken and not is_fresh and not is_committing:
                raise _StaleError from exc
            raise store_error(exc) from exc
        finally:
            self._put_back(connection)
        return value

    def _put_back(self, connection: Connection) -> None:
        with suppress(psycopg.Error):
            connection.rollback()
        if connection.closed:
            return
        self._idle.append(connection)

    def _connect(self, patience: str = _PATIENCE) -> Connection:
        try:
            connection: Connection = psycopg.connect(
                self._settings.url,
                password=self._settings.password,
                options=f"{_OPTIONS} {patience}",
                connect_timeout=_CONNECT_SECONDS,
                application_name="aios-mcp",
                client_encoding="utf8",
                tcp_user_timeout=30_000,
            )
        except psycopg.Error as exc:
            raise store_error(exc) from exc
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        return connection

    def _connect_apart(self) -> Connection:
        connection = self._connect(_LONG_PATIENCE)
        connection.autocommit = True
        return connection


async def _run_apart(
    connection: Connection, statement: LiteralString | Composed, values: Sequence[object] = ()
) -> Rows:
    is_cancelled = False
    outcome: Rows | StoreError = []
    ended = anyio.Event()

    def execute() -> Rows | StoreError:
        if is_cancelled:
            return []
        try:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as exc:
            failure = store_error(exc)
            failure.__cause__ = exc
            return failure

    async def run() -> None:
        nonlocal outcome
        outcome = await anyio.to_thread.run_sync(execute)  # whose end is waited for in any case
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            await ended.wait()
        except anyio.get_cancelled_exc_class():
            is_cancelled = True
            with anyio.CancelScope(shield=True), suppress(psycopg.Error):
                cancel = partial(connection.cancel_safe, timeout=_CANCEL_SECONDS)
                await anyio.to_thread.run_sync(cancel)
            raise
    if isinstance(outcome, StoreError):
        raise outcome
    return outcome


class _StaleError(Exception):
    """The connection had been closed before any of the work was committed."""


def store_error(exc: psycopg.Error) -> StoreError:
    """Give a failure of the database as ours; its own text may tell too much."""
    match exc:
        case errors.DiskFull() | errors.OutOfMemory():
            return StoreFullError("the memory database has no room left")
        case errors.ReadOnlySqlTransaction() | errors.InsufficientPrivilege():
            return StoreReadOnlyError(
                "the memory database refuses to write; grant its user the right to"
            )
        case errors.LockNotAvailable() | errors.DeadlockDetected() | errors.TooManyConnections():
            return StoreBusyError("the memory database is busy; try again")
        case errors.QueryCanceled():
            return StoreBusyError("the memory database took too long; try again")
        case psycopg.OperationalError():
            return StoreError(
                "the memory database cannot be reached; check that it runs, and memory.url"
            )
        case _:
            return StoreError("the memory database failed; the log says how")
