"""Reading rows whose column types the statement fixes, which a type checker cannot see."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import apsw

Value: TypeAlias = str | int | float | bytes | None
Values: TypeAlias = Sequence[Value] | Mapping[str, Value]


def fetch(connection: apsw.Connection, sql: str, bindings: Values = ()) -> list[tuple[Any, ...]]:
    """Run a statement and give all its rows."""
    return connection.execute(sql, bindings).fetchall()


def fetch_one(
    connection: apsw.Connection, sql: str, bindings: Values = ()
) -> tuple[Any, ...] | None:
    """Run a statement and give its first row, or None."""
    return connection.execute(sql, bindings).fetchone()
