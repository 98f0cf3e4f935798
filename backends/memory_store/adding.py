"""Adding a memory: everything that belongs to it in the one transaction it is called in."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import apsw

from backends.database import fetch_one
from backends.errors import IdempotencyConflictError, MemoryNotFoundError, StoreFullError
from backends.memory_store.forgetting import erase_expired, unindex
from backends.memory_store.partitions import find_space
from backends.memory_store.schema import ROW_OVERHEAD_BYTES, SEQ_BITS
from backends.memory_store.texts import content_hash, draft_digest, once_key, to_json
from backends.memory_store.vectors import Stored, set_vector
from backends.messages import Added, MemoryDraft, Place

_KEEP_KEYS_SECONDS = 7 * 86_400.0
_UNINDEXED_AT_ONCE = 2  # more than the one that an add can replace, so the rest dwindles


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A draft ready to be written.

    Attributes:
        draft: Its texts are clean.
        place: Where it goes.
        id: The public id it gets.
        embedder: Name of what makes the vector.
        vector: None where it is still to be made.
        now: Unix seconds.
        max_rows: Most memories of the partition.
        max_bytes: Most bytes of the partition.
    """

    draft: MemoryDraft
    place: Place
    id: str
    embedder: str
    vector: Stored | None
    now: float
    max_rows: int
    max_bytes: int


def add(connection: apsw.Connection, addition: Addition) -> Added:
    """Store a memory, or find that it stands there already."""
    draft = addition.draft
    space = _space(connection, addition.place.owner)
    seen = _seen(connection, space, addition)
    if seen is not None:
        return seen
    # First of all: a namespace goes with the last memory in it.
    erase_expired(connection, space, addition.now)
    unindex(connection, _UNINDEXED_AT_ONCE)
    namespace = _namespace(connection, space, addition.place.namespace)
    targets = [(name, _live(connection, space, each, addition.now)) for name, each in draft.links]
    known = None if draft.replaces else _same(connection, namespace, addition)
    if known is None:
        memory = _insert(connection, space, namespace, addition)
        if draft.replaces:
            _replace(connection, space, namespace, memory, addition)
        added = Added(addition.id, replaced=draft.replaces)
    else:
        memory, public = known
        _renew(connection, memory, draft)
        added = Added(public, deduplicated=True)
    for relation, target in targets:
        connection.execute("INSERT OR IGNORE INTO link VALUES(?, ?, ?)", (memory, relation, target))
    _remember_key(connection, space, addition, added)
    return added


def _space(connection: apsw.Connection, owner: str) -> int:
    found = find_space(connection, owner)
    if found is not None:
        return found
    connection.execute("INSERT INTO space(owner) VALUES(?)", (owner,))
    return connection.last_insert_rowid()


def _namespace(connection: apsw.Connection, space: int, name: str) -> int:
    row = fetch_one(
        connection, "SELECT no FROM namespace WHERE space = ? AND name = ?", (space, name)
    )
    if row is not None:
        return int(row[0])
    connection.execute("INSERT INTO namespace(space, name) VALUES(?, ?)", (space, name))
    return connection.last_insert_rowid()


def _seen(connection: apsw.Connection, space: int, addition: Addition) -> Added | None:
    key = once_key(addition.draft)
    if key is None:
        return None
    connection.execute(
        "DELETE FROM added_once WHERE created < ?", (addition.now - _KEEP_KEYS_SECONDS,)
    )
    row = fetch_one(
        connection,
        "SELECT digest, public, replaced FROM added_once WHERE space = ? AND key = ?",
        (space, key),
    )
    if row is None:
        return None
    digest, public, replaced = row
    if digest not in (None, draft_digest(addition.draft, addition.place.namespace)):
        raise IdempotencyConflictError(
            "the idempotency key was used before for another memory; use a new one"
        )
    return Added(public, deduplicated=True, replaced=replaced)


def _remember_key(
    connection: apsw.Connection, space: int, addition: Addition, added: Added
) -> None:
    key = once_key(addition.draft)
    if key is not None:
        digest = draft_digest(addition.draft, addition.place.namespace)
        connection.execute(
            "INSERT INTO added_once VALUES(?, ?, ?, ?, ?, ?)",
            (space, key, digest, added.id, added.replaced, addition.now),
        )


def _live(
    connection: apsw.Connection, space: int, public: str, now: float, namespace: int | None = None
) -> int:
    row = fetch_one(
        connection,
        "SELECT id FROM memory WHERE id >> 32 = ? AND public = ? AND replaced_by IS NULL"
        " AND (expires IS NULL OR expires > ?) AND (?4 IS NULL OR namespace = ?4)",
        (space, public, now, namespace),
    )
    if row is None:
        raise MemoryNotFoundError(f"there is no memory {public!r} to replace or to link to")
    return int(row[0])


def _same(
    connection: apsw.Connection, namespace: int, addition: Addition
) -> tuple[int, str] | None:
    row = fetch_one(
        connection,
        "SELECT id, public FROM memory WHERE namespace = ? AND hash = ? AND replaced_by IS NULL"
        " AND (expires IS NULL OR expires > ?)",
        (namespace, _hash(addition.draft), addition.now),
    )
    return None if row is None else (row[0], row[1])


def _renew(connection: apsw.Connection, memory: int, draft: MemoryDraft) -> None:
    """Let a memory that is added again have the tags of both, and the later end."""
    row = fetch_one(connection, "SELECT tags, expires FROM memory WHERE id = ?", (memory,))
    assert row is not None
    before: list[str] = json.loads(row[0])
    tags = sorted({*before, *draft.tags})
    if tags != before:
        connection.execute(
            "UPDATE memory SET size = size - octet_length(tags) + octet_length(?1), tags = ?1"
            " WHERE id = ?2",
            (to_json(tags), memory),
        )
        _insert_tags(connection, memory, draft.tags)
    if row[1] is not None and (draft.expires is None or draft.expires > row[1]):
        for table in ("memory", "entry"):
            connection.execute(
                f"UPDATE {table} SET expires = ? WHERE id = ?", (draft.expires, memory)
            )


def _insert(connection: apsw.Connection, space: int, namespace: int, addition: Addition) -> int:
    draft = addition.draft
    tags, source = to_json(sorted({*draft.tags})), to_json(draft.source)
    data = None if draft.data is None else to_json(draft.data)
    texts = (draft.content, draft.kind, tags, data or "", source)
    size = sum(len(text.encode()) for text in texts)
    memory = space << SEQ_BITS | _next_seq(connection, space, size, addition)
    connection.execute(
        "INSERT INTO memory VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        (
            memory,
            addition.id,
            namespace,
            draft.kind,
            draft.content,
            tags,
            data,
            source,
            addition.now,
            draft.expires,
            _hash(draft),
            size,
        ),
    )
    connection.execute(
        "INSERT INTO entry VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
        (
            memory,
            namespace,
            draft.kind,
            addition.now,
            draft.expires,
            size,
            addition.vector and embedder_number(connection, addition.embedder),
            addition.vector and addition.vector.sketch,
        ),
    )
    set_vector(connection, memory, addition.vector)
    _insert_tags(connection, memory, draft.tags)
    return memory


def _next_seq(connection: apsw.Connection, space: int, size: int, addition: Addition) -> int:
    row = fetch_one(connection, "SELECT next_seq, rows, bytes FROM space WHERE no = ?", (space,))
    assert row is not None
    seq, rows, size_bytes = row
    if rows + 1 > addition.max_rows:
        raise StoreFullError(
            f"all {addition.max_rows} rows of this memory are taken, older versions included;"
            " forget some memories first"
        )
    wanted = size_bytes + size + (rows + 1) * ROW_OVERHEAD_BYTES
    if wanted > addition.max_bytes:
        raise StoreFullError(
            f"this memory may hold {addition.max_bytes} bytes and would need {wanted}; forget some"
            " memories first, or add a shorter one"
        )
    return int(seq)


def embedder_number(connection: apsw.Connection, name: str) -> int:
    """Give the number that stands for an embedder's name, made if it is new."""
    row = fetch_one(connection, "SELECT no FROM embedder WHERE name = ?", (name,))
    if row is not None:
        return int(row[0])
    connection.execute("INSERT INTO embedder(name) VALUES(?)", (name,))
    return connection.last_insert_rowid()


def _replace(
    connection: apsw.Connection, space: int, namespace: int, memory: int, addition: Addition
) -> None:
    assert addition.draft.replaces is not None
    # Within one namespace: a right to write elsewhere must not take a memory away here.
    old = _live(connection, space, addition.draft.replaces, addition.now, namespace=namespace)
    connection.execute("UPDATE memory SET replaced_by = ? WHERE id = ?", (memory, old))
    connection.execute("DELETE FROM entry WHERE id = ?", (old,))


def _insert_tags(connection: apsw.Connection, memory: int, tags: Iterable[str]) -> None:
    for tag in set(tags):
        connection.execute("INSERT OR IGNORE INTO tag VALUES(?, ?)", (memory, tag))


def _hash(draft: MemoryDraft) -> bytes:
    data = None if draft.data is None else to_json(draft.data)
    return content_hash(draft.content, draft.kind, data)
