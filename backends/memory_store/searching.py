"""Finding memories: by meaning, by words, or both fused.

Words are weighed by BM25 with the statistics of what is within reach, not of the whole table:
neither a score nor its cost tells anything of another partition. Source: Robertson and Zaragoza,
The Probabilistic Relevance Framework: BM25 and Beyond, 2009. Texts are short, so a word counts
once however often it stands in one.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from backends.database import fetch, fetch_one
from backends.errors import MemoryNotFoundError
from backends.memory_store.filters import matching
from backends.memory_store.partitions import Clause, Partition
from backends.memory_store.texts import count_tokens, to_json_object
from backends.memory_store.vectors import Stored
from backends.memory_store.words import search_words
from backends.messages import Hit, MemoryQuery
from backends.text import well_formed

MOST_HITS = 1000

_TEXT_SHARE = 0.45
_CANDIDATES = 100
_COMPARED = 4  # times as many vectors are compared as are kept
_MOST_BRANCHES = 400  # SQLite takes 500 SELECTs in a compound


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

    @property
    def candidates(self) -> int:
        """How many each half of the search contributes at most."""
        return max(_CANDIDATES, min(self.query.k, MOST_HITS))

    def filters(self, partitions: Sequence[Partition]) -> Clause:
        """Give the condition that row `e` passes the query's filters."""
        query = self.query
        return matching(
            partitions, kinds=query.kinds, tags=query.tags, since=query.since, until=query.until
        )


def search(
    connection: apsw.Connection, partitions: Sequence[Partition], asked: Search
) -> tuple[Hit, ...]:
    """Find memories by their text, best first."""
    by_words: Mapping[int, float] = {}
    by_meaning: dict[int, float] = {}
    if asked.query.mode != "vector":
        by_words = _weigh_words(connection, partitions, asked)
    if asked.vector is not None and asked.vector.components:
        by_meaning = _compare(connection, partitions, asked, asked.vector)
        rest = by_words.keys() - by_meaning.keys()
        by_meaning |= _compare(connection, partitions, asked, asked.vector, only=rest)
    scores = by_meaning if asked.query.mode == "vector" else _fuse(by_words, by_meaning)
    best = sorted(scores, key=lambda memory: (-scores[memory], -memory))
    kept = best[: max(0, min(asked.query.k, MOST_HITS))]
    found = _load(connection, partitions, kept, asked.now)
    hits = [_hit(found[memory], scores[memory]) for memory in kept]
    return _pack(hits, asked.query.max_tokens)


def fetch_by_id(
    connection: apsw.Connection, partitions: Sequence[Partition], public: str, now: float
) -> Hit:
    """Fetch one memory.

    Raises:
        MemoryNotFoundError: There is none within reach.
    """
    for partition in partitions:
        where = partition.within(now)
        row = fetch_one(
            connection,
            f"{_RECORD} WHERE {where.sql} AND e.id >> 32 = ? AND e.public = ?"
            " AND e.replaced_by IS NULL",
            (*where.bindings, partition.space, well_formed(public)),
        )
        if row is not None:
            return _hit(row, 1.0)
    raise MemoryNotFoundError(f"there is no memory {public!r}; search_memory finds those there are")


def _compare(
    connection: apsw.Connection,
    partitions: Sequence[Partition],
    asked: Search,
    vector: Stored,
    only: Collection[int] | None = None,
) -> dict[int, float]:
    """Give the cosines of the nearest memories, or of the ones named, from 0 to 1."""
    chosen = asked.filters(partitions)
    if only is not None:
        # They came out of the filters; these need not be applied again.
        chosen = Clause("e.id IN (SELECT value FROM json_each(?))", (json.dumps(list(only)),))
    cosines: dict[int, float] = {}
    for partition in partitions:
        where = partition.within(asked.now).and_also(chosen.sql, *chosen.bindings)
        rows = fetch(
            connection,
            _NEAREST.format(where.sql),
            (
                vector.components,
                *where.bindings,
                asked.embedder,
                vector.sketch,
                asked.candidates * _COMPARED,
                asked.candidates,
            ),
        )
        cosines |= {memory: min(1.0, max(0.0, 1.0 - distance)) for memory, distance in rows}
    return cosines


def _weigh_words(
    connection: apsw.Connection, partitions: Sequence[Partition], asked: Search
) -> dict[int, float]:
    """Give the BM25 weights of the memories that share words with the query, highest first."""
    branches = _branches(partitions, asked)
    if not branches:
        return {}
    rows = sum(partition.rows for partition in partitions)
    filters = asked.filters(partitions)
    found = fetch(
        connection,
        _WORDS.format(" UNION ALL ".join(branch.sql for branch in branches), filters.sql),
        (
            *(value for branch in branches for value in branch.bindings),
            rows,
            max(1.0, sum(partition.size_bytes for partition in partitions) / max(1, rows)),
            *filters.bindings,
            asked.candidates,
        ),
    )
    return {row[0]: row[1] for row in found}


def _branches(partitions: Sequence[Partition], asked: Search) -> list[Clause]:
    branches: list[Clause] = []
    for number, word in enumerate(search_words(asked.query.text or "")):
        for partition in partitions:
            where = partition.within(asked.now)
            branches.append(
                Clause(
                    "SELECT e.id, ? FROM fts JOIN entry e ON e.id = fts.rowid"
                    f" WHERE fts MATCH ? AND fts.rowid BETWEEN ? AND ? AND {where.sql}",
                    (number, f'"{word}"', *partition.ids, *where.bindings),
                )
            )
    return branches[:_MOST_BRANCHES]


def _fuse(by_words: Mapping[int, float], by_meaning: Mapping[int, float]) -> dict[int, float]:
    """Give the weighted sum of both, each as a share of its highest."""
    if not by_meaning:
        return _as_shares(by_words)
    if not by_words:
        return _as_shares(by_meaning)
    words, meaning = _as_shares(by_words), _as_shares(by_meaning)
    return {
        memory: _TEXT_SHARE * words.get(memory, 0.0) + (1 - _TEXT_SHARE) * meaning.get(memory, 0.0)
        for memory in words.keys() | meaning.keys()
    }


def _as_shares(scores: Mapping[int, float]) -> dict[int, float]:
    highest = max(scores.values(), default=0.0)
    return {memory: score / highest if highest else 0.0 for memory, score in scores.items()}


def _load(
    connection: apsw.Connection,
    partitions: Sequence[Partition],
    memories: Sequence[int],
    now: float,
) -> dict[int, tuple[Any, ...]]:
    found: dict[int, tuple[Any, ...]] = {}
    for partition in partitions:
        where = partition.within(now)
        rows = fetch(
            connection,
            f"{_RECORD} WHERE {where.sql} AND e.id IN (SELECT value FROM json_each(?))",
            (*where.bindings, json.dumps(list(memories))),
        )
        found |= {row[0]: row for row in rows}
    return found


def _hit(row: tuple[Any, ...], score: float) -> Hit:
    _, public, content, kind, tags, namespace, created, data, source = row
    return Hit(
        id=public,
        content=content,
        score=score,
        kind=kind,
        tags=tuple(json.loads(tags)),
        namespace=namespace,
        created=created,
        data=None if data is None else to_json_object(data),
        source=to_json_object(source),
    )


def _pack(hits: Sequence[Hit], max_tokens: int | None) -> tuple[Hit, ...]:
    """Give the hits that fit, best first; one that is too long makes room for the next."""
    if max_tokens is None:
        return tuple(hits)
    kept: list[Hit] = []
    for hit in hits:
        tokens = count_tokens(hit.content)
        if tokens <= max_tokens:
            max_tokens -= tokens
            kept.append(hit)
    return tuple(kept)


_RECORD = """
SELECT e.id, e.public, e.content, e.kind, e.tags, n.name, e.created, e.data, e.source
FROM memory e JOIN namespace n ON n.no = e.namespace
"""

_NEAREST = """
SELECT id, vec_distance_cosine(vec_int8(components), vec_int8(?)) AS distance
FROM vector WHERE id IN (
    SELECT e.id FROM entry e
    WHERE {} AND e.embedder = (SELECT no FROM embedder WHERE name = ?)
    ORDER BY vec_distance_hamming(vec_bit(e.sketch), vec_bit(?)) LIMIT ?
)
ORDER BY distance LIMIT ?
"""

_WORDS = """
WITH found(id, word) AS MATERIALIZED ({}),
weight(word, idf) AS MATERIALIZED (
    SELECT word, ln(1 + (? - count(*) + 0.5) / (count(*) + 0.5)) FROM found GROUP BY word
),
total(id, idf) AS MATERIALIZED (
    SELECT id, sum(idf) FROM found JOIN weight USING (word) GROUP BY id
)
SELECT e.id, total.idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * e.size / ?)) AS score
FROM total JOIN entry e USING (id) WHERE {} ORDER BY score DESC LIMIT ?
"""
