"""Taking memories out: of every search at once, then of the index and the file."""

import json
from collections.abc import Sequence
from pathlib import Path

import apsw

from backends.database import fetch
from backends.database.connections import open_writer
from backends.memory_store.filters import matching
from backends.memory_store.partitions import Partition
from backends.messages import Selection
from backends.text import well_formed

_SWEEP_ROWS = 200
_KEEP_TOMBSTONES_SECONDS = 90 * 86_400.0
_CHECKPOINT_MILLISECONDS = 1000


def forget(
    connection: apsw.Connection,
    partitions: Sequence[Partition],
    selection: Selection,
    *,
    reason: str,
    now: float,
) -> int:
    """Erase what the selection names; gives how many, older versions not counted.

    Ids may name older versions; a filter finds only what a search would find.
    """
    if selection == Selection():
        return 0  # a filter without a condition would be everything
    chosen = matching(partitions, kinds=selection.kinds, tags=selection.tags, until=selection.until)
    if selection.ids:
        named = json.dumps([well_formed(each) for each in selection.ids])
        chosen = chosen.and_also("e.public IN (SELECT value FROM json_each(?))", named)
    else:
        chosen = chosen.and_also("e.replaced_by IS NULL")
    found: list[int] = []
    for partition in partitions:
        where = partition.within(now).and_also(chosen.sql, *chosen.bindings)
        rows = fetch(connection, f"SELECT e.id FROM memory e WHERE {where.sql}", where.bindings)
        found += [row[0] for row in rows]
    erase(connection, found, reason=reason, now=now)
    return len(found)


def erase(connection: apsw.Connection, memories: Sequence[int], *, reason: str, now: float) -> None:
    """Delete memories with their older versions, and leave a tombstone for each.

    The text goes with them, even as a hash: what is left are ids, times and the reason.
    """
    ids = fetch(connection, _WITH_OLDER_VERSIONS, (json.dumps(list(memories)),))
    for memory, public in ids:
        connection.execute(
            "INSERT INTO tombstone VALUES(?, ?, ?, ?)", (memory, public, reason, now)
        )
        connection.execute(
            "UPDATE added_once SET digest = NULL WHERE space = ? >> 32 AND public = ?",
            (memory, public),
        )
        connection.execute("DELETE FROM memory WHERE id = ?", (memory,))
    connection.execute(
        "DELETE FROM tombstone WHERE forgotten < ?", (now - _KEEP_TOMBSTONES_SECONDS,)
    )


def erase_expired(connection: apsw.Connection, space: int, now: float) -> int:
    """Erase some of what has expired in a partition; gives how many."""
    rows = fetch(
        connection,
        "SELECT id FROM memory WHERE id >> 32 = ? AND expires <= ? LIMIT ?",
        (space, now, _SWEEP_ROWS),
    )
    if rows:
        erase(connection, [row[0] for row in rows], reason="expired", now=now)
    return len(rows)


def unindex(connection: apsw.Connection, limit: int) -> int:
    """Take the words of some texts that are leaving out of the index; gives how many texts."""
    rows = fetch(connection, "SELECT id, content, tags FROM leaving LIMIT ?", (limit,))
    for row in rows:
        connection.execute(
            "INSERT INTO fts(fts, rowid, content, tags) VALUES('delete', ?, ?, ?)", row
        )
        connection.execute("DELETE FROM leaving WHERE id = ?", (row[0],))
    return len(rows)


def scrub(path: Path) -> bool:
    """Move all commits into the database and empty its log, where erased bytes still stand.

    Gives False where others kept the log in use; its next scrub or its last user will do it.
    """
    connection = open_writer(path)
    try:
        connection.set_busy_timeout(_CHECKPOINT_MILLISECONDS)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        return False
    finally:
        connection.close()
    return True


_WITH_OLDER_VERSIONS = """
WITH RECURSIVE old(id) AS (
    SELECT value FROM json_each(?)
    UNION
    SELECT memory.id FROM memory JOIN old ON memory.replaced_by = old.id
)
SELECT memory.id, memory.public FROM memory JOIN old ON memory.id = old.id
"""
