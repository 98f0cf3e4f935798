"""Adding one memory: everything that belongs to it in the one transaction it is called in."""

from typing import NamedTuple

import apsw

from backends.database import fetch_one, insert
from backends.errors import IdempotencyConflictError, MemoryNotFoundError
from backends.memory_store.additions import Addition, described, memory_row
from backends.memory_store.entries import enter, leave, pack_some
from backends.memory_store.forgetting import erase_expired
from backends.memory_store.likeness import adds_nothing
from backends.memory_store.partitions import Partition
from backends.memory_store.renewing import renew
from backends.memory_store.room import check_room
from backends.memory_store.schema import SEQ_BITS
from backends.memory_store.searching import Search, search
from backends.memory_store.texts import digest_of, draft_digest, once_key
from backends.messages import Added, MemoryQuery

_KEEP_KEYS_SECONDS = 7 * 86_400.0
_COMPARED_TO_FOLD = 10


class _Space(NamedTuple):
    """A partition as an addition finds it; 0 is a number that is not there yet."""

    no: int
    next_seq: int
    rows: int
    size_bytes: int
    namespace: int
    embedder: int
    has_expired: bool


def add(connection: apsw.Connection, addition: Addition) -> Added:
    """Store a memory, or find that it stands there already."""
    draft = addition.draft
    space = _space(connection, addition)
    seen = _seen(connection, space.no, addition)
    if seen is not None:
        return seen
    # First of all: a namespace goes with the last memory in it.
    if space.has_expired:
        erase_expired(connection, space.no, addition.now)
        space = _space(connection, addition)
    space = _with_numbers(connection, space, addition)
    targets = [
        (name, _live(connection, space.no, each, addition.now)) for name, each in draft.links
    ]
    digest = digest_of(draft)
    known = None if draft.replaces else _same(connection, space, addition, digest)
    if known is None:
        memory = _insert(connection, space, addition, digest)
        if draft.replaces:
            _replace(connection, space, memory, addition)
        pack_some(connection, memory)
        added = Added(addition.id, replaced=draft.replaces)
    else:
        memory, public = known
        renew(connection, memory, addition, space.embedder)
        added = Added(public, deduplicated=True)
    for relation, target in targets:
        connection.execute("INSERT OR IGNORE INTO link VALUES(?, ?, ?)", (memory, relation, target))
    _remember_key(connection, space.no, addition, added)
    return added


def _space(connection: apsw.Connection, addition: Addition) -> _Space:
    place = addition.place
    while True:
        row = fetch_one(
            connection, _SPACE, (place.namespace, addition.embedder, addition.now, place.owner)
        )
        if row is not None:
            return _Space(*row)
        connection.execute("INSERT INTO space(owner) VALUES(?)", (place.owner,))


def _with_numbers(connection: apsw.Connection, space: _Space, addition: Addition) -> _Space:
    if not space.namespace:
        connection.execute(
            "INSERT INTO namespace(space, name) VALUES(?, ?)",
            (space.no, addition.place.namespace),
        )
        space = space._replace(namespace=connection.last_insert_rowid())
    if not space.embedder:
        space = space._replace(embedder=embedder_number(connection, addition.embedder))
    return space


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


class _Known(NamedTuple):
    """A memory that stands there already, with its public id."""

    memory: int
    public: str


def _same(
    connection: apsw.Connection, space: _Space, addition: Addition, digest: bytes
) -> _Known | None:
    draft = addition.draft
    row = fetch_one(
        connection,
        "SELECT id, public FROM memory WHERE namespace = ? AND hash = ? AND session = ?"
        " AND replaced_by IS NULL AND (expires IS NULL OR expires > ?)",
        (space.namespace, digest, draft.session, addition.now),
    )
    if row is not None:
        return _Known(*row)
    if not draft.fold:
        return None
    return _nearly_the_same(connection, space, addition)


def _nearly_the_same(
    connection: apsw.Connection, space: _Space, addition: Addition
) -> _Known | None:
    draft = addition.draft
    partition = Partition(space=space.no, namespaces=(space.namespace,))
    query = MemoryQuery(text=draft.content, kinds=(draft.kind,), k=_COMPARED_TO_FOLD)
    asked = Search(
        query=query, embedder=addition.embedder, vector=addition.vector, now=addition.now
    )
    for hit in search(connection, [partition], asked):
        if hit.data == draft.data and adds_nothing(draft.content, hit.content):
            return _Known(_live(connection, space.no, hit.id, addition.now), hit.id)
    return None


def _insert(connection: apsw.Connection, space: _Space, addition: Addition, digest: bytes) -> int:
    row = memory_row(addition, space.no << SEQ_BITS | space.next_seq, space.namespace, digest)
    check_room(addition, rows=space.rows, size_bytes=space.size_bytes + row.size)
    insert(connection, "memory", [row])
    enter(
        connection,
        described(addition, row.id, space.namespace),
        space.embedder,
        addition.vector,
    )
    return row.id


def embedder_number(connection: apsw.Connection, name: str) -> int:
    """Give the number that stands for an embedder's name, made if it is new."""
    row = fetch_one(connection, "SELECT no FROM embedder WHERE name = ?", (name,))
    if row is not None:
        return int(row[0])
    connection.execute("INSERT INTO embedder(name) VALUES(?)", (name,))
    return connection.last_insert_rowid()


def _replace(connection: apsw.Connection, space: _Space, memory: int, addition: Addition) -> None:
    assert addition.draft.replaces is not None
    # Within one namespace: a right to write elsewhere must not take a memory away here.
    old = _live(
        connection,
        space.no,
        addition.draft.replaces,
        addition.now,
        namespace=space.namespace,
    )
    connection.execute("UPDATE memory SET replaced_by = ? WHERE id = ?", (memory, old))
    leave(connection, space.no, [old])


_SPACE = """
SELECT s.no, next_seq, rows, bytes,
    coalesce((SELECT no FROM namespace WHERE space = s.no AND name = ?), 0),
    coalesce((SELECT no FROM embedder WHERE name = ?), 0),
    EXISTS (SELECT 1 FROM memory WHERE id >> 32 = s.no AND expires <= ?)
FROM space s WHERE owner = ?
"""
