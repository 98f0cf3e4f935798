"""Reading rows whose column types the statement fixes, and writing many rows at once."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import apsw

Value: TypeAlias = str | int | float | bytes | None
Values: TypeAlias = Sequence[Value] | Mapping[str, Value]

_MOST_ROWS = 32  # of a statement: one text for each number of rows is kept prepared


def fetch(connection: apsw.Connection, sql: str, bindings: Values = ()) -> list[tuple[Any, ...]]:
    """Run a statement and give all its rows."""
    return connection.execute(sql, bindings).fetchall()


def fetch_one(
    connection: apsw.Connection, sql: str, bindings: Values = ()
) -> tuple[Any, ...] | None:
    """Run a statement and give its first row, or None."""
    return connection.execute(sql, bindings).fetchone()


def insert(
    connection: apsw.Connection, into: str, rows: Sequence[Sequence[Value]], on_conflict: str = ""
) -> None:
    """Insert rows in few statements: each of them may wait for the interpreter's lock.

    Args:
        connection: Where to.
        into: Table and columns, such as `note(id, text)`.
        rows: All of one length; may be none.
        on_conflict: What follows the values.
    """
    if not rows:
        return
    row = f"({', '.join('?' * len(rows[0]))})"
    for start in range(0, len(rows), _MOST_ROWS):
        part = rows[start : start + _MOST_ROWS]
        connection.execute(
            f"INSERT INTO {into} VALUES {', '.join([row] * len(part))} {on_conflict}",
            [value for each in part for value in each],
        )
