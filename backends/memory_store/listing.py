"""Listing memories page by page, with all that was kept of them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import apsw

from backends.database import fetch
from backends.memory_store.partitions import Partition
from backends.memory_store.texts import to_json_object
from backends.messages import MemoryDraft, MemoryRecord


def list_records(
    connection: apsw.Connection,
    partitions: Sequence[Partition],
    *,
    after: int,
    limit: int,
    now: float,
) -> tuple[MemoryRecord, ...]:
    """Give the records after a position, in the order they were added to their partition."""
    rows: list[tuple[Any, ...]] = []
    for partition in sorted(partitions, key=lambda each: each.space):
        where = partition.within(now)
        rows += fetch(
            connection,
            f"{_RECORDS} WHERE {where.sql} AND e.id > ? ORDER BY e.id LIMIT ?",
            (now, *where.bindings, after, limit - len(rows)),
        )
    links = _links(connection, [row[0] for row in rows], now)
    return tuple(_record(row, links) for row in rows)


def _links(
    connection: apsw.Connection, memories: Sequence[int], now: float
) -> Mapping[int, list[tuple[str, str]]]:
    found = fetch(connection, _LINKS, (json.dumps(list(memories)), now))
    links: dict[int, list[tuple[str, str]]] = {}
    for memory, relation, target in found:
        links.setdefault(memory, []).append((relation, target))
    return links


def _record(row: tuple[Any, ...], links: Mapping[int, list[tuple[str, str]]]) -> MemoryRecord:
    memory, public, namespace, is_current, replaces, tags, data, source, *rest = row
    content, kind, expires, session, importance, created, reason = rest
    return MemoryRecord(
        id=public,
        namespace=namespace,
        is_current=bool(is_current),
        position=memory,
        draft=MemoryDraft(
            content=content,
            kind=kind,
            tags=tuple(json.loads(tags)),
            data=None if data is None else to_json_object(data),
            replaces=replaces,
            links=tuple(links.get(memory, ())),
            expires=expires,
            source=to_json_object(source),
            session=session,
            importance=importance,
            created=created,
            reason=reason,
        ),
    )


_RECORDS = """
SELECT e.id, e.public, n.name, e.replaced_by IS NULL,
    (SELECT public FROM memory WHERE replaced_by = e.id AND (expires IS NULL OR expires > ?)),
    e.tags, e.data, e.source, e.content, e.kind, e.expires, e.session, e.importance, e.created,
    e.reason
FROM memory e JOIN namespace n ON n.no = e.namespace
"""

_LINKS = """
SELECT link.id, relation, public FROM link JOIN memory ON memory.id = target
WHERE link.id IN (SELECT value FROM json_each(?)) AND (expires IS NULL OR expires > ?)
ORDER BY link.id, relation, target
"""
