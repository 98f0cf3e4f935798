"""Connections to PostgreSQL, used on threads, each by one piece of work at a time."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, LiteralString, TypeAlias, TypeVar

import anyio
import anyio.to_thread
import psycopg
from psycopg import errors

from backends.errors import StoreBusyError, StoreError, StoreFullError, StoreReadOnlyError

T = TypeVar("T")

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Work: TypeAlias = Callable[[Connection], T]
Values: TypeAlias = Mapping[str, object]

SCHEMA = "aios_mcp"

_CONNECT_SECONDS = 10
_OPTIONS = (
    f"-c search_path={SCHEMA},public -c statement_timeout=30s -c lock_timeout=10s"
    " -c idle_in_transaction_session_timeout=60s -c timezone=UTC"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSettings:
    """Where the database is.

    Attributes:
        url: `postgresql://user@host:port/database`, as libpq takes it.
        password: Of the user, or None where the server asks for none.
        connections: Most that are open at once.
    """

    url: str
    password: str | None = None
    connections: int = 8


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

    async def maintain(self, statement: LiteralString, /) -> None:
        """Run a statement that stands outside of transactions.

        Raises:
            StoreError: It failed.
        """
        await anyio.to_thread.run_sync(self._maintain, statement, limiter=self._threads)

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

    def _connect(self) -> Connection:
        try:
            connection: Connection = psycopg.connect(
                self._settings.url,
                password=self._settings.password,
                options=_OPTIONS,
                connect_timeout=_CONNECT_SECONDS,
                application_name="aios-mcp",
                client_encoding="utf8",
                tcp_user_timeout=30_000,
            )
        except psycopg.Error as exc:
            raise store_error(exc) from exc
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        return connection

    def _maintain(self, statement: LiteralString) -> None:
        connection = self._connect()
        try:
            connection.autocommit = True
            connection.execute(statement)
        except psycopg.Error as exc:
            raise store_error(exc) from exc
        finally:
            connection.close()


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
