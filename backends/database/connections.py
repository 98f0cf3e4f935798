"""Opening connections: one that writes, some that only read, all with sqlite-vec."""

import time
from collections.abc import Callable
from pathlib import Path

import apsw
import sqlite_vec

_BUSY_MILLISECONDS = 5000
_STEPS_BETWEEN_CHECKS = 20_000
_PREPARED = 256  # statements of the writer that are kept; `insert` has one for each number of rows
_CACHE_KIB = 16 * 1024  # of a reader: a search touches pages all over the file
_MAPPED_BYTES = 1 << 32  # of the file, by a reader: sparing a call and a copy for each page


def open_writer(path: Path) -> apsw.Connection:
    """Open the connection that writes; a commit is on disk before it is answered."""
    connection = apsw.Connection(str(path), statementcachesize=_PREPARED)
    _prepare(connection)
    # Fetched to the end: apsw stops at the first row, which the second of these already gives.
    connection.execute(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 2000;"
        "PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY"
    ).fetchall()
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """Open a connection that can only read."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    _prepare(connection)
    connection.execute("PRAGMA query_only = ON")
    connection.execute(
        f"PRAGMA cache_size = -{_CACHE_KIB}; PRAGMA mmap_size = {_MAPPED_BYTES}"
    ).fetchall()
    return connection


def stop_after(connection: apsw.Connection, seconds: float) -> None:
    """Interrupt the connection's next statements once `seconds` have passed."""
    until = time.monotonic() + seconds
    is_over: Callable[[], bool] = lambda: time.monotonic() > until  # noqa: E731
    connection.set_progress_handler(is_over, _STEPS_BETWEEN_CHECKS)


def _prepare(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.enable_load_extension(False)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    connection.execute("PRAGMA trusted_schema = OFF")
