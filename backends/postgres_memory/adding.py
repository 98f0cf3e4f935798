"""Adding a memory: everything that belongs to it in the one transaction it is called in.

A partition's row in `space` is locked first, so that two kernels cannot both find room for the last
row, or both store the same text.
"""

from dataclasses import dataclass
from typing import LiteralString

from backends.errors import IdempotencyConflictError, MemoryNotFoundError
from backends.memory_store.likeness import adds_nothing
from backends.memory_store.room import check_room
from backends.memory_store.texts import digest_of, draft_digest, once_key, to_json
from backends.messages import Added, MemoryDraft, MemoryQuery
from backends.postgres_memory.connections import Connection
from backends.postgres_memory.forgetting import erase_expired
from backends.postgres_memory.partitions import Within
from backends.postgres_memory.searching import Search, search
from backends.postgres_memory.texts import Words, storable, tagged

_KEEP_KEYS_SECONDS = 7 * 86_400.0
_COMPARED_TO_FOLD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A draft ready to be written.

    Attributes:
        draft: Its texts can be stored.
        owner: Whose partition it goes to.
        namespace: Where in it.
        id: The public id it gets.
        embedder: Name of what makes the vector.
        vector: As pgvector reads it, "" for one without direction; None is still to be made.
        now: Unix seconds.
        max_rows: Most memories of the partition.
        max_bytes: Most bytes of the partition.
    """

    draft: MemoryDraft
    owner: str
    namespace: str
    id: str
    embedder: str
    vector: str | None
    now: float
    max_rows: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class _Known:
    """A memory that stands there already."""

    id: int
    public: str


def add(connection: Connection, addition: Addition, words: Words) -> Added:
    """Store a memory, or find that it stands there already."""
    draft = addition.draft
    space = _lock_space(connection, addition.owner)
    seen = _seen(connection, space, addition)
    if seen is not None:
        return seen
    erase_expired(connection, space, addition.now)
    namespace = _namespace(connection, space, addition.namespace)
    targets = [
        (name, _current(connection, space, each, addition.now)) for name, each in draft.links
    ]
    known = None if draft.replaces else _same(connection, space, namespace, addition, words)
    if known is None:
        memory = _insert(connection, space, namespace, addition, words)
        if draft.replaces:
            old = _current(connection, space, draft.replaces, addition.now, namespace=namespace)
            connection.execute("UPDATE memory SET replaced_by = %s WHERE id = %s", (memory, old))
            connection.execute("DELETE FROM entry WHERE id = %s", (old,))
        added = Added(addition.id, replaced=draft.replaces)
    else:
        memory = known.id
        _renew(connection, space, known.id, addition, words)
        added = Added(known.public, deduplicated=True)
    for relation, target in targets:
        connection.execute(
            "INSERT INTO link VALUES(%s, %s, %s) ON CONFLICT DO NOTHING",
            (memory, relation, target),
        )
    _remember_key(connection, space, addition, added)
    return added


def embedder_number(connection: Connection, name: str) -> int:
    """Give the number that stands for an embedder's name, made if it is new."""
    return _number_of(
        connection,
        "SELECT no FROM embedder WHERE name = %(name)s",
        "INSERT INTO embedder(name) VALUES(%(name)s) ON CONFLICT DO NOTHING",
        {"name": storable(name)},
    )


def _lock_space(connection: Connection, owner: str) -> int:
    return _number_of(
        connection,
        "SELECT no FROM space WHERE owner = %(owner)s FOR UPDATE",
        "INSERT INTO space(owner) VALUES(%(owner)s) ON CONFLICT DO NOTHING",
        {"owner": owner},
    )


def _namespace(connection: Connection, space: int, name: str) -> int:
    return _number_of(
        connection,
        "SELECT no FROM namespace WHERE space = %(space)s AND name = %(name)s",
        "INSERT INTO namespace(space, name) VALUES(%(space)s, %(name)s) ON CONFLICT DO NOTHING",
        {"space": space, "name": name},
    )


def _number_of(
    connection: Connection, find: LiteralString, insert: LiteralString, values: dict[str, object]
) -> int:
    row = connection.execute(find, values).fetchone()
    if row is None:
        connection.execute(insert, values)
        row = connection.execute(find, values).fetchone()
    assert row is not None
    return int(row[0])


def _seen(connection: Connection, space: int, addition: Addition) -> Added | None:
    key = once_key(addition.draft)
    if key is None:
        return None
    connection.execute(
        "DELETE FROM added_once WHERE space = %s AND created < %s",
        (space, addition.now - _KEEP_KEYS_SECONDS),
    )
    row = connection.execute(
        "SELECT digest, public, replaced FROM added_once WHERE space = %s AND key = %s",
        (space, storable(key)),
    ).fetchone()
    if row is None:
        return None
    digest, public, replaced = row
    if digest not in (None, draft_digest(addition.draft, addition.namespace)):
        raise IdempotencyConflictError(
            "the idempotency key was used before for another memory; use a new one"
        )
    return Added(public, deduplicated=True, replaced=replaced)


def _remember_key(connection: Connection, space: int, addition: Addition, added: Added) -> None:
    key = once_key(addition.draft)
    if key is None:
        return
    digest = draft_digest(addition.draft, addition.namespace)
    connection.execute(
        "INSERT INTO added_once VALUES(%s, %s, %s, %s, %s, %s)",
        (space, storable(key), digest, added.id, added.replaced, addition.now),
    )


def _current(
    connection: Connection, space: int, public: str, now: float, namespace: int | None = None
) -> int:
    # Replacing keeps to a namespace: a right to write elsewhere must not take a memory away here.
    row = connection.execute(
        "SELECT id FROM memory WHERE space = %(space)s AND public = %(public)s"
        " AND replaced_by IS NULL AND (expires IS NULL OR expires > %(now)s)"
        " AND (%(namespace)s::integer IS NULL OR namespace = %(namespace)s)",
        {"space": space, "public": public, "now": now, "namespace": namespace},
    ).fetchone()
    if row is None:
        raise MemoryNotFoundError(f"there is no memory {public!r} to replace or to link to")
    return int(row[0])


def _same(
    connection: Connection, space: int, namespace: int, addition: Addition, words: Words
) -> _Known | None:
    draft = addition.draft
    row = connection.execute(
        "SELECT id, public FROM memory WHERE namespace = %s AND hash = %s AND session = %s"
        " AND replaced_by IS NULL AND (expires IS NULL OR expires > %s)",
        (namespace, digest_of(draft), draft.session, addition.now),
    ).fetchone()
    if row is not None:
        return _Known(*row)
    if not draft.fold:
        return None
    within = Within(spaces=[space], namespaces=[namespace], now=addition.now, current=1, words=1)
    asked = Search(
        query=MemoryQuery(text=draft.content, kinds=(draft.kind,), k=_COMPARED_TO_FOLD),
        embedder=addition.embedder,
        vector=addition.vector,
        words=words.looked_for(draft.content),
    )
    for hit in search(connection, within, asked):
        if hit.data == draft.data and adds_nothing(draft.content, hit.content):
            return _Known(_current(connection, space, hit.id, addition.now), hit.id)
    return None


def _renew(
    connection: Connection, space: int, memory: int, addition: Addition, words: Words
) -> None:
    """Let a memory that is added again have the tags of both, and the later end."""
    draft = addition.draft
    row = connection.execute(
        "SELECT content, tags, expires, created FROM memory WHERE id = %s", (memory,)
    ).fetchone()
    assert row is not None
    content, before, ends, created = row
    tags = sorted({*before, *draft.tags})
    later = ends is not None and (draft.expires is None or draft.expires > ends)
    expires = draft.expires if later else ends
    if (tags, expires) == (before, ends):
        return
    values = {
        "id": memory,
        "tags": tags,
        "expires": expires,
        "grown": len(to_json(tags).encode()) - len(to_json(before).encode()),
        "words": tagged(space, words.of(" ".join((content, *tags))) + words.dated(created)),
    }
    connection.execute(
        "UPDATE memory SET tags = %(tags)s, expires = %(expires)s, size = size + %(grown)s"
        " WHERE id = %(id)s",
        values,
    )
    connection.execute(
        "UPDATE entry SET tags = %(tags)s, expires = %(expires)s, words = %(words)s"
        " WHERE id = %(id)s",
        values,
    )


def _insert(
    connection: Connection, space: int, namespace: int, addition: Addition, words: Words
) -> int:
    draft = addition.draft
    source = storable(to_json(draft.source))
    data = None if draft.data is None else to_json(draft.data)
    texts = (draft.content, draft.kind, to_json(draft.tags), data or "", source)
    size = sum(len(text.encode()) for text in (*texts, draft.session, draft.reason))
    _check_room(connection, space, size, addition)
    created = addition.now if draft.created is None else draft.created
    values = (
        space,
        namespace,
        addition.id,
        draft.kind,
        draft.content,
        list(draft.tags),
        data,
        source,
        draft.session,
        draft.importance,
        draft.reason,
        created,
        draft.expires,
        digest_of(draft),
        size,
    )
    row = connection.execute(_INSERT, values).fetchone()
    assert row is not None
    hashes = words.of(" ".join((draft.content, *draft.tags)))
    embedder = None if addition.vector is None else embedder_number(connection, addition.embedder)
    connection.execute(
        _ENTER,
        {
            "id": row[0],
            "length": len(hashes),
            "words": tagged(space, hashes + words.dated(created)),
            "embedder": embedder,
            "vector": addition.vector or None,
        },
    )
    return int(row[0])


def _check_room(connection: Connection, space: int, size: int, addition: Addition) -> None:
    row = connection.execute("SELECT rows, bytes FROM space WHERE no = %s", (space,)).fetchone()
    assert row is not None
    rows, size_bytes = row
    check_room(addition, rows=rows, size_bytes=size_bytes + size)


_INSERT = """
INSERT INTO memory(space, namespace, public, kind, content, tags, data, source, session, importance,
    reason, created, expires, hash, size)
VALUES(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
"""

_ENTER = """
INSERT INTO entry
SELECT m.id, m.namespace, m.kind, m.tags, m.session,
    (SELECT max(b.id) FROM memory b WHERE b.namespace = m.namespace AND b.session = m.session
        AND b.session <> '' AND b.id < m.id),
    m.importance, m.created, m.expires, %(length)s, %(words)s, %(embedder)s, %(vector)s::halfvec
FROM memory m WHERE m.id = %(id)s
"""
