"""Memories as callers see them: hits with their links and versions, and records of a listing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from backends.errors import MemoryNotFoundError
from backends.memory_store.ranking import MOST_HITS
from backends.memory_store.texts import to_json_object
from backends.messages import Hit, MemoryDraft, MemoryQuery, MemoryRecord
from backends.postgres_memory.connections import Connection
from backends.postgres_memory.partitions import WITHIN, Within
from backends.postgres_memory.texts import storable


class Shown:
    """Memories within reach, as hits."""

    def __init__(self, connection: Connection, within: Within) -> None:
        self._connection = connection
        self._within = within

    def hits(self, memories: Sequence[int], *, older: bool = False) -> dict[int, Hit]:
        """Give those of the memories that are within reach, by their numbers."""
        values = {**self._within.values, "ids": list(memories), "older": older}
        rows = self._connection.execute(_HITS, values).fetchall()
        return {row[0]: _hit(row) for row in rows}

    def linked(self, hits: Sequence[Hit], *, steps: int, most: int) -> list[Hit]:
        """Give what links of hits lead to, and links of these, step by step."""
        seen = {hit.id for hit in hits}
        frontier, found = list(hits), list[Hit]()
        for _ in range(steps):
            ways = {target: hit for hit in reversed(frontier) for _, target in hit.links}
            rows = self._connection.execute(
                "SELECT id FROM memory WHERE space = ANY(%s) AND public = ANY(%s) ORDER BY id",
                (self._within.spaces, [each for each in ways if each not in seen]),
            ).fetchall()
            reached = self.hits([row[0] for row in rows]).values()
            frontier = [replace(hit, via=ways[hit.id].id) for hit in reached][: most - len(found)]
            seen |= {hit.id for hit in frontier}
            found += frontier
        return found


def fetch_by_id(connection: Connection, within: Within, query: MemoryQuery) -> tuple[Hit, ...]:
    """Fetch one memory, or with its history all its versions, the current one first.

    Raises:
        MemoryNotFoundError: There is none within reach.
    """
    public = query.id or ""
    values = {**within.values, "public": storable(public)}
    rows = connection.execute(_VERSIONS if query.history else _VERSION, values).fetchall()
    shown = Shown(connection, within)
    hits = shown.hits([row[0] for row in rows], older=query.history)
    versions = [replace(hits[memory], replaced=reason) for memory, reason in rows if memory in hits]
    if not versions or versions[0].replaced is not None:
        raise MemoryNotFoundError(
            f"there is no memory {public!r}; search_memory finds those there are"
        )
    linked = shown.linked(versions[:1], steps=query.links, most=MOST_HITS)
    return (*versions, *linked)


def list_records(
    connection: Connection, within: Within, *, after: int, limit: int
) -> tuple[MemoryRecord, ...]:
    """Give the records after a position, in the order they were added."""
    values = {**within.values, "after": after, "limit": limit}
    return tuple(_record(row) for row in connection.execute(_RECORDS, values).fetchall())


def _hit(row: tuple[Any, ...]) -> Hit:
    _, public, content, kind, tags, namespace, created, data, source, session, importance, links = (
        row
    )
    return Hit(
        id=public,
        content=content,
        score=1.0,
        kind=kind,
        tags=tuple(tags),
        namespace=namespace,
        created=created,
        data=None if data is None else to_json_object(data),
        source=to_json_object(source),
        session=session,
        importance=importance,
        links=tuple((relation, target) for relation, target in links or ()),
    )


def _record(row: tuple[Any, ...]) -> MemoryRecord:
    memory, public, content, kind, tags, namespace, created, data, source, *rest = row
    session, importance, is_current, replaces, expires, reason, links = rest
    return MemoryRecord(
        id=public,
        namespace=namespace,
        is_current=is_current,
        position=memory,
        draft=MemoryDraft(
            content=content,
            kind=kind,
            tags=tuple(tags),
            data=None if data is None else to_json_object(data),
            replaces=replaces,
            links=tuple((relation, target) for relation, target in links or ()),
            expires=expires,
            source=to_json_object(source),
            session=session,
            importance=importance,
            created=created,
            reason=reason,
        ),
    )


_FIELDS = """
e.id, e.public, e.content, e.kind, e.tags, n.name, e.created, e.data, e.source, e.session,
e.importance
"""

_HITS = f"""
SELECT {_FIELDS}, (
    SELECT array_agg(ARRAY[relation, t.public] ORDER BY relation, t.public)
    FROM link JOIN memory t ON t.id = target
    WHERE link.id = e.id AND t.replaced_by IS NULL AND t.namespace = ANY(%(namespaces)s)
        AND (t.expires IS NULL OR t.expires > %(now)s)
)
FROM memory e JOIN namespace n ON n.no = e.namespace
WHERE e.id = ANY(%(ids)s) AND {WITHIN} AND (%(older)s OR e.replaced_by IS NULL) ORDER BY e.id
"""

_VERSION = f"""
SELECT id, NULL::text FROM memory e
WHERE e.space = ANY(%(spaces)s) AND e.public = %(public)s AND e.replaced_by IS NULL AND {WITHIN}
"""

# Up to the newest version, then down from it; each older one says why the next took its place.
_VERSIONS = f"""
WITH RECURSIVE newer(id, replaced_by) AS (
    SELECT id, replaced_by FROM memory e
    WHERE e.space = ANY(%(spaces)s) AND e.public = %(public)s AND {WITHIN}
    UNION
    SELECT memory.id, memory.replaced_by FROM memory JOIN newer ON memory.id = newer.replaced_by
), version(id, reason, age) AS (
    SELECT id, NULL::text, 0 FROM newer WHERE replaced_by IS NULL
    UNION ALL
    SELECT old.id, next.reason, age + 1
    FROM version JOIN memory old ON old.replaced_by = version.id
    JOIN memory next ON next.id = version.id
)
SELECT id, reason FROM version ORDER BY age
"""

_RECORDS = f"""
SELECT {_FIELDS}, e.replaced_by IS NULL,
    (SELECT o.public FROM memory o
        WHERE o.replaced_by = e.id AND (o.expires IS NULL OR o.expires > %(now)s)),
    e.expires, e.reason, (
        SELECT array_agg(ARRAY[relation, t.public] ORDER BY relation, t.public)
        FROM link JOIN memory t ON t.id = target
        WHERE link.id = e.id AND (t.expires IS NULL OR t.expires > %(now)s)
    )
FROM memory e JOIN namespace n ON n.no = e.namespace
WHERE e.space = ANY(%(spaces)s) AND {WITHIN} AND e.id > %(after)s ORDER BY e.id LIMIT %(limit)s
"""
