"""Taking memories out: of every search at once, then of the index and the file."""

import json
from collections.abc import Sequence

import apsw

from backends.database import fetch
from backends.memory_store.entries import leave
from backends.memory_store.index import Index
from backends.memory_store.partitions import Partition
from backends.memory_store.schema import SEQ_BITS
from backends.memory_store.searching import Shown, is_wanted
from backends.messages import MemoryQuery, Selection
from backends.text import well_formed

_SWEEP_ROWS = 200
_KEEP_TOMBSTONES_SECONDS = 90 * 86_400.0


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
    found = _by_ids(connection, partitions, selection.ids, now)
    if not selection.ids:
        found = _by_filter(connection, partitions, selection, now)
    erase(connection, found, reason=reason, now=now)
    return len(found)


def erase(connection: apsw.Connection, memories: Sequence[int], *, reason: str, now: float) -> None:
    """Delete memories with their older versions, and leave a tombstone for each.

    The text goes with them, even as a hash: what is left are ids, times and the reason.
    """
    rows = fetch(connection, _WITH_OLDER_VERSIONS, (json.dumps(list(memories)),))
    living: dict[int, list[int]] = {}
    for memory, _, is_living in rows:
        if is_living:
            living.setdefault(memory >> SEQ_BITS, []).append(memory)
    for space, leaving in living.items():
        leave(connection, space, leaving)
    for memory, public, _ in rows:
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


def _by_ids(
    connection: apsw.Connection, partitions: Sequence[Partition], ids: Sequence[str], now: float
) -> list[int]:
    named = json.dumps([well_formed(each) for each in ids])
    found: list[int] = []
    for partition in partitions:
        where = partition.within(now).and_also(
            "e.id >> 32 = ? AND e.public IN (SELECT value FROM json_each(?))",
            partition.space,
            named,
        )
        rows = fetch(connection, f"SELECT e.id FROM memory e WHERE {where.sql}", where.bindings)
        found += [row[0] for row in rows]
    return found


def _by_filter(
    connection: apsw.Connection,
    partitions: Sequence[Partition],
    selection: Selection,
    now: float,
) -> list[int]:
    session = None if selection.session is None else well_formed(selection.session)
    query = MemoryQuery(
        kinds=selection.kinds, tags=selection.tags, until=selection.until, session=session
    )
    index = Index(connection, partitions, now)
    chosen: list[int] = index.ids(index.passing(query).nonzero()[0]).tolist()
    hits = Shown(connection, partitions, now).hits(chosen)
    return [memory for memory, hit in hits.items() if is_wanted(hit, query)]


_WITH_OLDER_VERSIONS = """
WITH RECURSIVE old(id) AS (
    SELECT value FROM json_each(?)
    UNION
    SELECT memory.id FROM memory JOIN old ON memory.replaced_by = old.id
)
SELECT memory.id, memory.public, replaced_by IS NULL FROM memory JOIN old ON memory.id = old.id
"""
