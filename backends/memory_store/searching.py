"""Finding memories and showing them: the search, from the index to the hits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import Any

import apsw
import numpy as np

from backends.database import fetch, fetch_one
from backends.errors import MemoryNotFoundError
from backends.memory_store.columns import NO_EMBEDDER
from backends.memory_store.index import Index, filter_words
from backends.memory_store.likeness import without_repeats
from backends.memory_store.packed import Kept
from backends.memory_store.partitions import Partition
from backends.memory_store.ranking import MOST_HITS, Ranked, query_words, rank
from backends.memory_store.texts import count_tokens
from backends.memory_store.vectors import Stored
from backends.messages import Hit, JsonObject, MemoryQuery
from backends.text import well_formed

_UNRANKED = Ranked(0, 1.0, None)
_SPARE = 8  # loaded beyond those asked for, since a label's hash may deceive


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A query with all that is needed to run it.

    Attributes:
        query: Its text is clean and of bounded length.
        embedder: Name of what made the vector; other embedders' vectors are not compared.
        vector: The query's; None compares no vectors.
        now: Unix seconds.
    """

    query: MemoryQuery
    embedder: str
    vector: Stored | None
    now: float


def search(
    connection: apsw.Connection,
    partitions: Sequence[Partition],
    asked: Search,
    kept: Kept | None = None,
) -> tuple[Hit, ...]:
    """Find memories by their text, best first; without a text the last ones, newest first.

    Args:
        connection: Of which a consistent state is seen.
        partitions: Within reach.
        asked: What is searched for.
        kept: See `Index`.
    """
    query = asked.query
    words = query_words(connection, query)
    embedder = _embedder(connection, asked.embedder) if asked.vector else NO_EMBEDDER
    index = Index(
        connection,
        partitions,
        asked.now,
        kept,
        words=[*words, *chain(*filter_words(query))],
        embedder=embedder,
    )
    room = max(0, min(query.k, MOST_HITS))
    most = (3 if query.distinct else 1) * room + _SPARE
    if query.text is None:
        ranked = _newest(index, query, most)
    else:
        ranked = rank(
            index, query, words, asked.vector, embedder=embedder, most=most, now=asked.now
        )
    index.keep()
    shown = Shown(connection, partitions, asked.now)
    scores, hits = {each.id: each for each in ranked}, list[Hit]()
    chosen = list(scores)
    for part in (chosen[:room], chosen[room:]):
        if len(hits) < room:
            found = shown.hits(part, scores=scores)
            hits += [
                found[each] for each in part if each in found and is_wanted(found[each], query)
            ]
            hits = without_repeats(hits) if query.distinct else hits
    hits = pack(hits[:room], query.max_tokens)
    return tuple(hits + shown.linked(hits, steps=query.links, most=room))


def is_wanted(hit: Hit, query: MemoryQuery) -> bool:
    """Whether a hit has the labels that a query asks for, not only their hashes."""
    return (
        (not query.kinds or hit.kind in map(well_formed, query.kinds))
        and all(well_formed(tag) in hit.tags for tag in query.tags)
        and query.session in (None, hit.session)
    )


def pack(hits: Sequence[Hit], max_tokens: int | None) -> list[Hit]:
    """Give the hits that fit, best first; one that is too long makes room for the next."""
    if max_tokens is None:
        return list(hits)
    kept: list[Hit] = []
    for hit in hits:
        tokens = count_tokens(hit.content)
        if tokens <= max_tokens:
            max_tokens -= tokens
            kept.append(hit)
    return kept


class Shown:
    """Memories within reach, as hits."""

    def __init__(
        self, connection: apsw.Connection, partitions: Sequence[Partition], now: float
    ) -> None:
        self._connection = connection
        self._partitions = partitions
        self._now = now

    def hits(
        self,
        memories: Sequence[int],
        *,
        older: bool = False,
        scores: Mapping[int, Ranked] = MappingProxyType({}),
    ) -> dict[int, Hit]:
        """Give those of the memories that are within reach, by their numbers."""
        if not memories:
            return {}
        given = apsw.carray(np.array(memories, np.int64))
        rows: list[tuple[Any, ...]] = []
        for partition in self._partitions:
            where = partition.within(self._now)
            rows += self._connection.execute(
                "SELECT e.id, e.public, e.content, e.kind, n.name, e.created, e.session,"
                " e.importance, '[' || e.tags || ',' || coalesce(e.data, 'null') || ',' || e.source"
                " || ',' || (SELECT json_group_array(json_array(relation, e.public))"
                " FROM link CROSS JOIN memory e ON e.id = target"
                f" WHERE link.id = value AND e.replaced_by IS NULL AND {where.sql}) || ']'"
                " FROM carray(?) CROSS JOIN memory e ON e.id = value"
                f" CROSS JOIN namespace n ON n.no = e.namespace WHERE {where.sql}"
                f"{'' if older else ' AND e.replaced_by IS NULL'}",
                (*where.bindings, given, *where.bindings),
            ).fetchall()
        # Read all at once: most of the time goes by between one text and the next.
        parsed = json.loads(f"[{','.join([row[-1] for row in rows])}]")
        return {
            row[0]: _hit(row, scores.get(row[0], _UNRANKED), *each)
            for row, each in zip(rows, parsed, strict=True)
        }

    def linked(self, hits: Sequence[Hit], *, steps: int, most: int) -> list[Hit]:
        """Give what links of hits lead to, and links of these, step by step."""
        seen = {hit.id for hit in hits}
        frontier, found = list(hits), list[Hit]()
        for _ in range(steps):
            ways = {target: hit for hit in reversed(frontier) for _, target in hit.links}
            numbers = self._numbers([each for each in ways if each not in seen])
            reached = self.hits(numbers)
            frontier = [
                replace(reached[each], via=ways[reached[each].id].id)
                for each in numbers
                if each in reached
            ][: most - len(found)]
            seen |= {hit.id for hit in frontier}
            found += frontier
        return found

    def _numbers(self, publics: Sequence[str]) -> list[int]:
        return [
            row[0]
            for partition in self._partitions
            for row in fetch(
                self._connection,
                "SELECT id FROM memory WHERE id >> 32 = ?"
                " AND public IN (SELECT value FROM json_each(?))",
                (partition.space, json.dumps(list(publics))),
            )
        ]


def fetch_by_id(
    connection: apsw.Connection, partitions: Sequence[Partition], query: MemoryQuery, now: float
) -> tuple[Hit, ...]:
    """Fetch one memory, or with its history all its versions, the living one first.

    Raises:
        MemoryNotFoundError: There is none within reach.
    """
    public = query.id or ""
    shown = Shown(connection, partitions, now)
    for partition in partitions:
        rows = fetch(
            connection,
            _VERSIONS if query.history else _VERSION,
            (partition.space, well_formed(public)),
        )
        hits = shown.hits([row[0] for row in rows], older=query.history)
        versions = [(hits[row[0]], row[1], row[2]) for row in rows if row[0] in hits]
        if not versions or versions[0][1] is not None:
            continue
        shown_versions = [replace(hit, replaced=reason) for hit, _, reason in versions]
        linked = shown.linked(shown_versions[:1], steps=query.links, most=MOST_HITS)
        return (*shown_versions, *linked)
    raise MemoryNotFoundError(f"there is no memory {public!r}; search_memory finds those there are")


def _newest(index: Index, query: MemoryQuery, most: int) -> list[Ranked]:
    positions = index.passing(query).nonzero()[0]
    ids, created = index.ids(positions), index.fact("created", positions)
    newest = sorted(zip(created.tolist(), ids.tolist(), strict=True), reverse=True)
    return [Ranked(memory, 1.0, {} if query.explain else None) for _, memory in newest[:most]]


def _embedder(connection: apsw.Connection, name: str) -> int:
    row = fetch_one(connection, "SELECT no FROM embedder WHERE name = ?", (name,))
    return NO_EMBEDDER if row is None else int(row[0])


def _hit(
    row: tuple[Any, ...],
    ranked: Ranked,
    tags: list[str],
    data: JsonObject | None,
    source: JsonObject,
    links: list[tuple[str, str]],
) -> Hit:
    _, public, content, kind, namespace, created, session, importance, _ = row
    return Hit(
        id=public,
        content=content,
        score=ranked.score,
        kind=kind,
        tags=tuple(tags),
        namespace=namespace,
        created=created,
        data=data,
        source=source,
        session=session,
        importance=importance,
        links=tuple(sorted([(relation, target) for relation, target in links])),
        why=ranked.why,
    )


_VERSION = """
SELECT id, replaced_by, NULL FROM memory
WHERE id >> 32 = ? AND public = ? AND replaced_by IS NULL
"""

_VERSIONS = """
WITH RECURSIVE newer(id, replaced_by) AS (
    SELECT id, replaced_by FROM memory WHERE id >> 32 = ? AND public = ?
    UNION
    SELECT memory.id, memory.replaced_by FROM memory JOIN newer ON memory.id = newer.replaced_by
), version(id, replaced_by, reason, step) AS (
    SELECT id, NULL, NULL, 0 FROM newer WHERE replaced_by IS NULL
    UNION
    SELECT memory.id, memory.replaced_by, after.reason, step + 1
    FROM version JOIN memory ON memory.replaced_by = version.id
    JOIN memory after ON after.id = version.id
)
SELECT id, replaced_by, reason FROM version ORDER BY step, id DESC
"""
