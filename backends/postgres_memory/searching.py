"""Finding memories: by meaning, by words, or both fused, in one statement.

Words are weighed by BM25 with the statistics of what is within reach, as the SQLite store does it:
neither a score nor its cost tells anything of another partition.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backends.memory_store.likeness import without_repeats
from backends.memory_store.ranking import MOST_HITS, Ranked
from backends.memory_store.searching import pack
from backends.messages import Hit, MemoryQuery
from backends.postgres_memory.connections import Connection
from backends.postgres_memory.fusing import Found, rank
from backends.postgres_memory.graphs import find_near
from backends.postgres_memory.partitions import FILTERS, WITHIN, Within
from backends.postgres_memory.showing import Shown
from backends.postgres_memory.texts import labels, storable, tagged

_CANDIDATES = 100
_SPARE = 3  # times as many are loaded where repeats are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A query with all that is needed to run it.

    Attributes:
        query: Its text is of bounded length.
        embedder: Name of what made the vector; other embedders' vectors are not compared.
        vector: The query's, as pgvector reads it; "" or None compares no vectors.
        words: Hashes of the words to look for.
    """

    query: MemoryQuery
    embedder: str
    vector: str | None
    words: Sequence[int]


def search(connection: Connection, within: Within, asked: Search) -> tuple[Hit, ...]:
    """Find memories by their text, best first; without a text the last ones, newest first."""
    query = asked.query
    room = max(0, min(query.k, MOST_HITS))
    if query.text is None:
        rows = connection.execute(_NEWEST, _values(within, asked, room)).fetchall()
        best = [Ranked(row[0], 1.0, {}) for row in rows]
    else:
        most = max(_CANDIDATES, room)
        values = _values(within, asked, most)
        near = find_near(connection, within, values, embedder=asked.embedder, room=most)
        rows = connection.execute(_FOUND, {**values, **near._asdict()}).fetchall()
        best = rank([Found(*row) for row in rows], query, room=most, now=within.now)
    shown = Shown(connection, within)
    found = shown.hits([each.id for each in best[: (_SPARE if query.distinct else 1) * room]])
    hits = [
        replace(found[each.id], score=each.score, why=each.why if query.explain else None)
        for each in best
        if each.id in found
    ]
    if query.distinct:
        hits = without_repeats(hits)
    hits = pack(hits[:room], query.max_tokens)
    return tuple(hits + shown.linked(hits, steps=query.links, most=room))


def _values(within: Within, asked: Search, room: int) -> dict[str, object]:
    query = asked.query
    words = () if query.mode == "vector" else asked.words
    tags = list(map(storable, query.tags))
    session = None if query.session is None else storable(query.session)
    label = labels(tags, session or "")[-1:]  # one is enough to look for
    return {
        **within.values,
        "current": max(1, within.current),
        "mean": max(1.0, within.words / max(1, within.current)),
        "words": [word for space in within.spaces for word in tagged(space, words)],
        "labels": [word for space in within.spaces for word in tagged(space, label)],
        "embedder": storable(asked.embedder),
        "vector": asked.vector or None,
        "kinds": list(map(storable, query.kinds)),
        "tags": tags,
        "since": query.since,
        "until": query.until,
        "session": session,
        "is_hybrid": query.mode == "hybrid",
        "room": room,
    }


_NEWEST = f"""
SELECT e.id FROM entry e WHERE {WITHIN} AND {FILTERS} ORDER BY e.created DESC, e.id DESC
LIMIT %(room)s
"""

_IS_LIKE = """
e.embedder = (SELECT no FROM maker) AND vector_dims(e.vector) = vector_dims(%(vector)s::halfvec)
"""

# What two partitions call the same word is told apart by its upper bits; both count as one word.
_FOUND = f"""
WITH holding AS MATERIALIZED (
    SELECT e.id, e.length, word & 4294967295 AS word
    FROM entry e, unnest(e.words) AS word
    WHERE e.words && %(words)s::bigint[] AND {WITHIN} AND word = ANY(%(words)s::bigint[])
), idf AS MATERIALIZED (
    SELECT word, ln(1 + greatest(0, %(current)s - count(*) + 0.5) / (count(*) + 0.5)) AS idf
    FROM holding GROUP BY word
), weighed AS MATERIALIZED (
    SELECT id, (sum(idf) * 2.2 / (1 + 1.2 * (0.25 + 0.75 * length / %(mean)s)))::double precision
        AS weight
    FROM holding JOIN idf USING (word) GROUP BY id, length
), by_words AS (
    SELECT e.id FROM weighed JOIN entry e USING (id) WHERE {FILTERS}
    ORDER BY weight DESC, e.id DESC LIMIT %(room)s
), maker AS MATERIALIZED (
    SELECT no FROM embedder WHERE name = %(embedder)s AND %(vector)s::text IS NOT NULL
), by_meaning AS MATERIALIZED (
    SELECT id FROM (
        SELECT e.id, e.vector <=> %(vector)s::halfvec AS distance FROM entry e
        WHERE e.namespace = ANY(%(compared)s::integer[]) AND {WITHIN} AND {FILTERS} AND {_IS_LIKE}
        UNION ALL
        SELECT e.id, e.vector <=> %(vector)s::halfvec FROM entry e
        WHERE e.id = ANY(%(near)s::bigint[]) AND {WITHIN}
    ) AS alike ORDER BY distance, id DESC LIMIT %(room)s
), chosen AS MATERIALIZED (
    SELECT id FROM by_words UNION SELECT id FROM by_meaning
), said_near AS (
    SELECT e.id FROM entry e JOIN chosen ON e.before = chosen.id
    UNION SELECT e.before FROM entry e JOIN chosen USING (id)
), all_chosen AS (
    SELECT id FROM chosen
    UNION SELECT e.id FROM said_near JOIN entry e USING (id)
    WHERE %(is_hybrid)s AND {WITHIN} AND {FILTERS}
)
SELECT e.id, coalesce(weighed.weight, 0),
    CASE WHEN {_IS_LIKE}
        THEN greatest(0, 1 - (e.vector <=> %(vector)s::halfvec)) END,
    e.id IN (SELECT id FROM by_meaning), e.id NOT IN (SELECT id FROM chosen),
    e.before, e.nearness, e.created, e.importance
FROM all_chosen JOIN entry e USING (id) LEFT JOIN weighed USING (id)
"""
