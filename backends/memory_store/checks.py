"""What can be checked of the memories beyond SQLite's own integrity check."""

from collections.abc import Iterator
from typing import NamedTuple

import apsw
import numpy as np

from backends.database import fetch
from backends.memory_store.blocks import Entries, Facts, read_blocks, read_entries
from backends.memory_store.entries import (
    LOOSE,
    by_embedder,
    describe,
    facts_of,
    packed,
    words_of,
)
from backends.memory_store.schema import SEQ_BITS
from backends.memory_store.texts import content_hash


def check_memories(connection: apsw.Connection) -> list[str]:
    """Compare memories with their hashes, entries and counts; gives what does not fit."""
    return [
        *_damaged(connection),
        *_strays(connection),
        *_miscounted(connection),
    ]


def _damaged(connection: apsw.Connection) -> list[str]:
    rows = connection.execute("SELECT public, content, kind, data, hash FROM memory")
    return [
        f"memory {public!r}: its content is not what was stored"
        for public, content, kind, data, stored in rows
        if content_hash(str(content), str(kind), data and str(data)) != stored
    ]


def _strays(connection: apsw.Connection) -> list[str]:
    return [
        f"memory {public!r}: searches do not see it as it is"
        for (space,) in fetch(connection, "SELECT no FROM space")
        for public in _strays_of(connection, space)
    ]


class _Seen(NamedTuple):
    """A memory as searches see it, as bytes."""

    facts: bytes
    words: bytes


def _strays_of(connection: apsw.Connection, space: int) -> list[str]:
    seen: dict[int, list[_Seen]] = {}
    for entries in _entries(connection, space):
        _collect(entries, seen)
    rows = fetch(
        connection,
        "SELECT id, public FROM memory WHERE id >> 32 = ? AND replaced_by IS NULL",
        (space,),
    )
    strays: list[str] = []
    for memory, public in rows:
        described = describe(connection, memory)
        assert described is not None
        [words] = words_of(connection, [described])
        wanted = _Seen(facts_of(described, before=0), words)
        if seen.pop(memory & (1 << SEQ_BITS) - 1, []) != [wanted]:
            strays.append(public)
    return strays + [f"number {seq}" for seq in seen]


def _entries(connection: apsw.Connection, space: int) -> Iterator[Entries]:
    ids = (space << SEQ_BITS, (space + 1 << SEQ_BITS) - 1)
    yield from map(packed, by_embedder(fetch(connection, LOOSE, ids)).values())
    for block in read_blocks(connection, "space = ?", (space,)):
        yield read_entries(connection, block)


def _collect(entries: Entries, seen: dict[int, list[_Seen]]) -> None:
    if not len(entries.facts):
        return
    order = np.argsort(entries.positions, kind="stable")
    counts = np.bincount(entries.positions, minlength=len(entries.facts))
    words = np.split(entries.hashes[order], np.cumsum(counts)[:-1])
    for number, each in enumerate(words):
        facts = entries.facts[number : number + 1]
        seen.setdefault(int(facts["seq"][0]), []).append(_Seen(_told(facts), each.tobytes()))


def _told(facts: Facts) -> bytes:
    told = facts.copy()
    told["before"] = 0  # that one may have been forgotten
    return told.tobytes()


def _miscounted(connection: apsw.Connection) -> list[str]:
    rows = fetch(
        connection,
        "SELECT owner FROM space LEFT JOIN (SELECT id >> 32 AS no, count(*) AS found, sum(size) AS"
        " size FROM memory GROUP BY 1) USING (no)"
        " WHERE rows <> coalesce(found, 0) OR bytes <> coalesce(size, 0)",
    )
    return [f"memories of {owner or 'the shared partition'!r} are miscounted" for (owner,) in rows]
