"""Taking memories out, with their older versions, their words and their vectors."""

from collections.abc import Sequence

from backends.messages import Selection
from backends.postgres_memory.connections import Connection
from backends.postgres_memory.partitions import WITHIN, Within
from backends.postgres_memory.texts import storable

_SWEEP_ROWS = 200
_KEEP_TOMBSTONES_SECONDS = 90 * 86_400.0


def forget(connection: Connection, within: Within, selection: Selection, reason: str) -> int:
    """Erase what the selection names; gives how many, older versions not counted.

    Ids may name older versions; a filter finds only what a search would find.
    """
    if selection == Selection():
        return 0  # a filter without a condition would be everything
    connection.execute(
        # In one order, so that no two callers wait for each other.
        "SELECT no FROM space WHERE no = ANY(%(spaces)s) ORDER BY no FOR UPDATE",
        within.values,
    )
    values = {
        **within.values,
        "ids": list(map(storable, selection.ids)),
        "kinds": list(map(storable, selection.kinds)),
        "tags": list(map(storable, selection.tags)),
        "until": selection.until,
        "session": None if selection.session is None else storable(selection.session),
    }
    rows = connection.execute(_BY_IDS if selection.ids else _BY_FILTER, values).fetchall()
    erase(connection, [row[0] for row in rows], reason=reason, now=within.now)
    return len(rows)


def erase(connection: Connection, memories: Sequence[int], *, reason: str, now: float) -> None:
    """Delete memories with their older versions, and leave a tombstone for each.

    The text goes with them, even as a hash: what is left are ids, times and the reason.
    """
    if memories:
        connection.execute(_ERASE, {"ids": list(memories), "reason": reason, "now": now})
    connection.execute(
        "DELETE FROM tombstone WHERE forgotten < %s", (now - _KEEP_TOMBSTONES_SECONDS,)
    )


def erase_expired(connection: Connection, space: int, now: float) -> int:
    """Erase some of what has expired in a partition that is locked; gives how many."""
    rows = connection.execute(
        "SELECT id FROM memory WHERE space = %s AND expires <= %s LIMIT %s",
        (space, now, _SWEEP_ROWS),
    ).fetchall()
    if rows:
        erase(connection, [row[0] for row in rows], reason="expired", now=now)
    return len(rows)


_BY_IDS = f"""
SELECT id FROM memory e WHERE e.space = ANY(%(spaces)s) AND e.public = ANY(%(ids)s) AND {WITHIN}
"""

_BY_FILTER = f"""
SELECT id FROM entry e
WHERE {WITHIN} AND (%(kinds)s::text[] = '{{}}' OR e.kind = ANY(%(kinds)s))
    AND e.tags @> %(tags)s::text[]
    AND (%(until)s::double precision IS NULL OR e.created < %(until)s)
    AND (%(session)s::text IS NULL OR e.session = %(session)s)
"""

_ERASE = """
WITH RECURSIVE gone(id) AS (
    SELECT unnest(%(ids)s::bigint[])
    UNION
    SELECT memory.id FROM memory JOIN gone ON memory.replaced_by = gone.id
), erased AS (
    DELETE FROM memory USING gone WHERE memory.id = gone.id
    RETURNING memory.id, memory.space, memory.public
), untold AS (
    UPDATE added_once o SET digest = NULL FROM erased
    WHERE o.space = erased.space AND o.public = erased.public
)
INSERT INTO tombstone SELECT id, space, public, %(reason)s, %(now)s FROM erased
"""
