"""What a search sees of each living memory: its entry, alone at first, later packed into blocks.

An entry is never changed. Where something of it changes, it leaves and the memory is entered again.
"""

import json
import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw
import numpy as np

from backends.database import Value, fetch, fetch_one, insert
from backends.memory_store.blocks import (
    FACTS,
    Entries,
    delete_block,
    joined,
    mark_left,
    read_blocks,
    read_entries,
    write_block,
)
from backends.memory_store.schema import SEQ_BITS
from backends.memory_store.vectors import Stored
from backends.memory_store.words import (
    date_words,
    label_term,
    packed_hashes,
    stems,
)

LOOSE_ROWS = 128
"""So many entries of a partition stand alone before they are packed."""

_LARGE_ROWS = 16_384
_MOST_ROWS = 1 << 16  # positions in a block have 16 bits
LOOK_EVERY = 64
"""After so many additions it is seen whether there is something to pack."""

_TOGETHER_SECONDS = 600.0
LOOSELY_TOGETHER = 0.6
"""How near what was said one after the other is, where no session holds it together."""

_FACTS = struct.Struct("<4I2d2f")


class Described(NamedTuple):
    """A memory as its entry describes it."""

    id: int
    namespace: int
    content: str
    kind: str
    tags: Sequence[str]
    session: str
    agent: str | None
    created: float
    expires: float | None
    importance: float


def describe(connection: apsw.Connection, memory: int) -> Described | None:
    """Describe a memory, if it lives."""
    row = fetch_one(
        connection,
        "SELECT namespace, content, kind, tags, session, created, expires, importance,"
        " source ->> 'agent' FROM memory WHERE id = ? AND replaced_by IS NULL",
        (memory,),
    )
    if row is None:
        return None
    namespace, content, kind, tags, session, created, expires, importance, agent = row
    return Described(
        id=memory,
        namespace=namespace,
        content=content,
        kind=kind,
        tags=json.loads(tags),
        session=session,
        agent=agent,
        created=created,
        expires=expires,
        importance=importance,
    )


class Said(NamedTuple):
    """What is known of a memory to tell whether it was said right before another."""

    id: int
    namespace: int
    session: str | None
    agent: str | None
    created: float


def is_said_after(memory: "Said | Described", last: "Said | Described") -> bool:
    """Whether a memory without a session follows the one added last to its partition.

    What the same agent adds within some minutes belongs together: turns of a conversation, or the
    pieces of a document.
    """
    return (
        memory.namespace == last.namespace
        and last.session == ""
        and abs(last.created - memory.created) <= _TOGETHER_SECONDS
        and memory.agent == last.agent
    )


def said_before(connection: apsw.Connection, memory: Described) -> int:
    """Give the seq of what was said right before a memory, or 0.

    Within a session that is its last memory; without one see `is_said_after`.
    """
    if memory.session:
        row = fetch_one(connection, _LAST_IN_SESSION, (memory.namespace, memory.session, memory.id))
        found = 0 if row is None or row[0] is None else int(row[0])
    else:
        first = memory.id >> SEQ_BITS << SEQ_BITS
        row = fetch_one(connection, _ADDED_BEFORE, (first, memory.id - 1))
        found = 0 if row is None or not is_said_after(memory, last := Said(*row)) else last.id
    return found & (1 << SEQ_BITS) - 1


_LAST_IN_SESSION = """
SELECT max(id) FROM memory WHERE namespace = ? AND session = ? AND session <> '' AND id < ?
"""

_ADDED_BEFORE = """
SELECT id, namespace, session, source ->> 'agent', created FROM memory
WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1
"""


def facts_of(memory: Described, before: int) -> bytes:
    """Give the facts of an entry, as `FACTS`; its length is that of its words."""
    return _FACTS.pack(
        memory.id & (1 << SEQ_BITS) - 1,
        memory.namespace,
        before,
        len(memory.content.split()),
        memory.created,
        math.inf if memory.expires is None else memory.expires,
        memory.importance,
        1.0 if memory.session else LOOSELY_TOGETHER,
    )


def words_of(connection: apsw.Connection, memories: Sequence[Described]) -> list[bytes]:
    """Give the words and labels that each of some memories is found by."""
    return packed_hashes([_terms_of(connection, memory) for memory in memories])


def _terms_of(connection: apsw.Connection, memory: Described) -> list[str]:
    terms = stems(connection, " ".join((memory.content, *memory.tags, date_words(memory.created))))
    terms.append(label_term("kind", memory.kind))
    terms += [label_term("tag", tag) for tag in memory.tags]
    if memory.session:
        terms.append(label_term("session", memory.session))
    return terms


def enter(
    connection: apsw.Connection, memory: Described, embedder: int, vector: Stored | None
) -> None:
    """Let searches see a memory. Without a vector it is still to be made."""
    before = said_before(connection, memory)
    insert(
        connection, "entry", entries_of(connection, [Entering(memory, before, embedder, vector)])
    )


class Entering(NamedTuple):
    """A memory that searches are to see; `before` is what `said_before` gives."""

    memory: Described
    before: int
    embedder: int
    vector: Stored | None


def entries_of(
    connection: apsw.Connection, entering: Sequence[Entering]
) -> list[tuple[Value, ...]]:
    """Give the rows of entries."""
    words = words_of(connection, [each.memory for each in entering])
    return [
        (
            each.memory.id,
            0 if each.vector is None else each.embedder,
            facts_of(each.memory, each.before),
            b"" if each.vector is None else each.vector.sketch,
            own,
            b"" if each.vector is None else each.vector.components,
        )
        for each, own in zip(entering, words, strict=True)
    ]


def leave(connection: apsw.Connection, space: int, memories: Sequence[int]) -> None:
    """Take memories out of every search; what the index knows of them goes with `repack`."""
    listed = (json.dumps(memories),)
    connection.execute("DELETE FROM vector WHERE id IN (SELECT value FROM json_each(?))", listed)
    connection.execute("DELETE FROM entry WHERE id IN (SELECT value FROM json_each(?))", listed)
    if connection.changes() == len(memories):
        return
    seqs = np.array(memories, np.int64) & (1 << SEQ_BITS) - 1
    between = "space = ? AND last >= ? AND first <= ?"
    chosen = (space, int(seqs.min()), int(seqs.max()))
    for block in read_blocks(connection, between, chosen):
        is_leaving = np.isin(block.facts["seq"], seqs)
        if (is_leaving & block.is_live).any():
            mark_left(connection, block, is_leaving)


def pack_some(connection: apsw.Connection, memory: int) -> None:
    """Pack a partition's entries now and then, as memories are added to it."""
    if memory % LOOK_EVERY == 0:
        pack(connection, memory >> SEQ_BITS)


def pack(connection: apsw.Connection, space: int, *, least: int = LOOSE_ROWS) -> None:
    """Pack the entries that stand alone if they are many, and small blocks into large ones."""
    ids = (space << SEQ_BITS, (space + 1 << SEQ_BITS) - 1)
    row = fetch_one(connection, "SELECT count(*) FROM entry WHERE id BETWEEN ? AND ?", ids)
    assert row is not None
    if row[0] < least:
        return
    rows = fetch(connection, f"{LOOSE} ORDER BY id", ids)
    connection.execute(
        "INSERT OR REPLACE INTO vector SELECT id, components FROM entry"
        " WHERE id BETWEEN ? AND ? AND components <> x''",
        ids,
    )
    connection.execute("DELETE FROM entry WHERE id BETWEEN ? AND ?", ids)
    for embedder, loose in by_embedder(rows).items():
        write_block(connection, space, embedder, packed(loose))
        _merge(connection, space, embedder)


Loose = Sequence[tuple[int, bytes, bytes, bytes]]
"""Entries that stand alone, each as embedder, facts, sketch and words."""

LOOSE = "SELECT embedder, facts, sketch, words FROM entry WHERE id BETWEEN ? AND ?"


def by_embedder(rows: Sequence[tuple[Any, ...]]) -> dict[int, Loose]:
    """Give the rows of `LOOSE` apart by their embedders."""
    embedders = list(dict.fromkeys(row[0] for row in rows))
    if len(embedders) == 1:
        return {embedders[0]: rows}
    return {each: [row for row in rows if row[0] == each] for each in embedders}


def packed(loose: Loose) -> Entries:
    """Give entries of one embedder together."""
    _, facts, sketches, words = zip(*loose, strict=True)
    hashes = np.frombuffer(b"".join(words), np.uint32)
    positions = np.repeat(
        np.arange(len(loose), dtype=np.uint32), [len(each) // 4 for each in words]
    )
    order = np.argsort(hashes, kind="stable")
    return Entries(
        np.frombuffer(b"".join(facts), FACTS),
        np.ascontiguousarray(
            np.frombuffer(b"".join(sketches), np.uint64).reshape(len(loose), -1).T
        ),
        hashes[order],
        positions[order],
    )


def stale_memories(connection: apsw.Connection, embedder: int, limit: int) -> list[int]:
    """Give some memories whose vector is missing or another embedder's."""
    rows = fetch(connection, "SELECT id FROM entry WHERE embedder <> ? LIMIT ?", (embedder, limit))
    found = [int(row[0]) for row in rows]
    stale = "embedder <> ? AND gone < rows"
    row = fetch_one(connection, f"SELECT min(no), space FROM block WHERE {stale}", (embedder,))
    if found or row is None or row[0] is None:
        return found
    no, space = row
    for block in read_blocks(connection, "no = ?", (no,)):
        seqs = block.facts["seq"][block.is_live][:limit].tolist()
        found = [space << SEQ_BITS | seq for seq in seqs]
    return found


def repack(connection: apsw.Connection, limit: int) -> list[int]:
    """Pack some blocks anew without the entries that left; gives the partitions of each."""
    rows = fetch(connection, "SELECT no, space FROM block WHERE gone > 0 LIMIT ?", (limit,))
    for no, space in rows:
        [block] = read_blocks(connection, "no = ?", (no,))
        entries = read_entries(connection, block)
        delete_block(connection, no)
        write_block(connection, space, block.embedder, entries)
    return [space for _, space in rows]


def _merge(connection: apsw.Connection, space: int, embedder: int) -> None:
    """Make one of the newest blocks once none of them is more than a fourth of all, and so on."""
    rows = fetch(
        connection,
        "SELECT no, rows FROM block WHERE space = ? AND embedder = ? AND rows < ? ORDER BY no DESC",
        (space, embedder, _LARGE_ROWS),
    )
    merged = total = 0
    for number, (_, count) in enumerate(rows, 1):
        total += count
        if total > _MOST_ROWS:
            break
        if count <= total // 4:
            merged = number
    if not merged:
        return
    chosen = [no for no, _ in rows[:merged]]
    marks = ", ".join("?" * len(chosen))
    blocks = read_blocks(connection, f"no IN ({marks})", chosen)
    entries = joined([read_entries(connection, block) for block in blocks])
    for no in chosen:
        delete_block(connection, no)
    write_block(connection, space, embedder, entries)
