"""Writing a memory as it is new: its row, and the entry that searches see."""

from dataclasses import dataclass
from typing import LiteralString

from backends.memory_store.additions import PlacedDraft
from backends.memory_store.entries import LOOSELY_TOGETHER, Said, is_said_after
from backends.memory_store.room import check_room
from backends.memory_store.texts import digest_of, to_json, to_json_object
from backends.messages import JsonObject
from backends.postgres_memory.connections import Connection
from backends.postgres_memory.texts import Words, storable


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition(PlacedDraft):
    """One with its vector as pgvector reads it, "" without direction; None is still to be made."""

    vector: str | None


def insert(
    connection: Connection, space: int, namespace: int, addition: Addition, words: Words
) -> int:
    """Store a memory and let searches see it; gives its number.

    Raises:
        StoreFullError: There is no room for it.
    """
    draft = addition.draft
    source = storable(to_json(draft.source))
    data = None if draft.data is None else to_json(draft.data)
    texts = (draft.content, draft.kind, to_json(draft.tags), data or "", source)
    size = sum(len(text.encode()) for text in (*texts, draft.session, draft.reason))
    _check_room(connection, space, size, addition)
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
        addition.created,
        draft.expires,
        digest_of(draft),
        size,
    )
    before = None if draft.session else _said_before(connection, space, namespace, addition)
    row = connection.execute(_INSERT, values).fetchone()
    assert row is not None
    memory = int(row[0])
    entry = _entry(space, addition, words)
    embedder = None if addition.vector is None else embedder_number(connection, addition.embedder)
    connection.execute(_ENTER, {**entry, "id": memory, "before": before, "embedder": embedder})
    return memory


def _entry(space: int, addition: Addition, words: Words) -> dict[str, object]:
    draft = addition.draft
    entered = words.entered(space, draft.content, draft.tags, addition.created, draft.session)
    return {
        "nearness": 1.0 if draft.session else LOOSELY_TOGETHER,
        **entered._asdict(),
        "vector": addition.vector or None,
    }


def embedder_number(connection: Connection, name: str) -> int:
    """Give the number that stands for an embedder's name, made if it is new."""
    return number_of(
        connection,
        "SELECT no FROM embedder WHERE name = %(name)s",
        "INSERT INTO embedder(name) VALUES(%(name)s) ON CONFLICT DO NOTHING",
        {"name": storable(name)},
    )


def number_of(
    connection: Connection, find: LiteralString, make: LiteralString, values: dict[str, object]
) -> int:
    """Give the number that stands for a name, made if it is new."""
    row = connection.execute(find, values).fetchone()
    if row is None:
        connection.execute(make, values)
        row = connection.execute(find, values).fetchone()
    assert row is not None
    return int(row[0])


def _said_before(
    connection: Connection, space: int, namespace: int, addition: Addition
) -> int | None:
    """Give what a memory without a session follows, if it does."""
    row = connection.execute(_ADDED_LAST, (space,)).fetchone()
    if row is None:
        return None
    last = Said(row[0], row[1], row[2], _agent(to_json_object(row[3])), row[4])
    draft = addition.draft
    memory = Said(0, namespace, draft.session, _agent(draft.source), addition.created)
    return last.id if is_said_after(memory, last) else None


def _agent(source: JsonObject) -> str | None:
    agent = source.get("agent")
    return None if agent is None else storable(str(agent))


def _check_room(connection: Connection, space: int, size: int, addition: Addition) -> None:
    row = connection.execute("SELECT rows, bytes FROM space WHERE no = %s", (space,)).fetchone()
    assert row is not None
    rows, size_bytes = row
    check_room(addition, rows=rows, size_bytes=size_bytes + size)


_ADDED_LAST = """
SELECT id, namespace, session, source, created FROM memory WHERE space = %s ORDER BY id DESC LIMIT 1
"""

_INSERT = """
INSERT INTO memory(space, namespace, public, kind, content, tags, data, source, session, importance,
    reason, created, expires, hash, size)
VALUES(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
"""

_ENTER = """
INSERT INTO entry
SELECT m.id, m.namespace, m.kind, m.tags, m.session,
    coalesce(%(before)s, (
        SELECT max(b.id) FROM memory b WHERE b.namespace = m.namespace AND b.session = m.session
            AND b.session <> '' AND b.id < m.id)),
    m.importance, m.created, m.expires, %(length)s, %(words)s, %(embedder)s, %(vector)s::halfvec,
    %(nearness)s
FROM memory m WHERE m.id = %(id)s
"""
