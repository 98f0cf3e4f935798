"""Adding a memory: everything that belongs to it in the one transaction it is called in.

A partition's row in `space` is locked first, so that two kernels cannot both find room for the last
row, or both store the same text.
"""

from dataclasses import dataclass

from backends.errors import IdempotencyConflictError, MemoryNotFoundError
from backends.memory_store.likeness import adds_nothing
from backends.memory_store.texts import digest_of, draft_digest, once_key, to_json
from backends.messages import Added, MemoryQuery
from backends.postgres_memory.connections import Connection
from backends.postgres_memory.forgetting import erase_expired
from backends.postgres_memory.inserting import Addition, insert, number_of
from backends.postgres_memory.partitions import Within
from backends.postgres_memory.searching import Search, search
from backends.postgres_memory.texts import Words, storable

_KEEP_KEYS_SECONDS = 7 * 86_400.0
_COMPARED_TO_FOLD = 10


@dataclass(frozen=True, slots=True)
class _Known:
    """A memory that stands there already."""

    id: int
    public: str


def add(connection: Connection, addition: Addition, words: Words) -> Added:
    """Store a memory, or find that it stands there already."""
    draft = addition.draft
    space = _lock_space(connection, addition.place.owner)
    seen = _seen(connection, space, addition)
    if seen is not None:
        return seen
    erase_expired(connection, space, addition.now)
    namespace = _namespace(connection, space, addition.place.namespace)
    targets = [
        (name, _current(connection, space, each, addition.now)) for name, each in draft.links
    ]
    known = None if draft.replaces else _same(connection, space, namespace, addition, words)
    if known is None:
        memory = insert(connection, space, namespace, addition, words)
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


def _lock_space(connection: Connection, owner: str) -> int:
    return number_of(
        connection,
        "SELECT no FROM space WHERE owner = %(owner)s FOR UPDATE",
        "INSERT INTO space(owner) VALUES(%(owner)s) ON CONFLICT DO NOTHING",
        {"owner": owner},
    )


def _namespace(connection: Connection, space: int, name: str) -> int:
    return number_of(
        connection,
        "SELECT no FROM namespace WHERE space = %(space)s AND name = %(name)s",
        "INSERT INTO namespace(space, name) VALUES(%(space)s, %(name)s) ON CONFLICT DO NOTHING",
        {"space": space, "name": name},
    )


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
    if digest not in (None, draft_digest(addition.draft, addition.place.namespace)):
        raise IdempotencyConflictError(
            "the idempotency key was used before for another memory; use a new one"
        )
    return Added(public, deduplicated=True, replaced=replaced)


def _remember_key(connection: Connection, space: int, addition: Addition, added: Added) -> None:
    key = once_key(addition.draft)
    if key is None:
        return
    digest = draft_digest(addition.draft, addition.place.namespace)
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
        "SELECT content, tags, expires, created, session FROM memory WHERE id = %s", (memory,)
    ).fetchone()
    assert row is not None
    content, before, ends, created, session = row
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
        "words": words.entered(space, content, tags, created, session).words,
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
