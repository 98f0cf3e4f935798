"""Reading rows whose column types the statement fixes, which a type checker cannot see."""

from collections.abc import Sequence
from typing import Any

import apsw


def fetch(
    connection: apsw.Connection, sql: str, bindings: Sequence[object] | dict[str, object] = ()
) -> list[tuple[Any, ...]]:
    """Run a statement and give all its rows."""
    return connection.execute(sql, bindings).fetchall()


def fetch_one(
    connection: apsw.Connection, sql: str, bindings: Sequence[object] | dict[str, object] = ()
) -> tuple[Any, ...] | None:
    """Run a statement and give its first row, or None."""
    return connection.execute(sql, bindings).fetchone()
