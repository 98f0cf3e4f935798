"""Graphs over the vectors of large namespaces, so that a search need not compare all of them.

Each is an index over one namespace's vectors of one embedder: neither what a search finds nor what
it costs tells anything of another's. Source: Malkov and Yashunin, Efficient and robust approximate
nearest neighbor search using Hierarchical Navigable Small World graphs, 2018, as pgvector has it.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from psycopg import sql

from backends.postgres_memory.connections import Connection, Run
from backends.postgres_memory.partitions import FILTERS, WITHIN, Within
from backends.postgres_memory.texts import storable

_MOST_DIMENSIONS: Final = 4000  # that pgvector can index
_EXPLORED: Final = 3  # times as many as are asked for, which misses one of the first 200
_MOST_EXPLORED: Final = 1000
_LOCK: Final = 0x61696F736D6371  # any number, the same in every kernel


class Graph(NamedTuple):
    """Whose vectors it holds."""

    namespace: int
    embedder: int
    dimensions: int


class Near(NamedTuple):
    """What graphs found.

    Attributes:
        near: Memories near to the query.
        compared: Namespaces in which all are still to be compared.
    """

    near: list[int]
    compared: list[int]


def find_near(
    connection: Connection,
    within: Within,
    values: Mapping[str, object],
    *,
    embedder: str,
    room: int,
) -> Near:
    """Find what is near in namespaces that have a graph.

    Where few of the nearest pass the filters, the next ones would be guesses: all are compared.

    Args:
        connection: In the transaction of the search.
        within: What the search may touch.
        values: Of the search's statement.
        embedder: Name of what made the query's vector.
        room: Most memories.
    """
    near, compared = list[int](), list(within.namespaces)
    if not (within.has_graph and values["vector"]):
        return Near(near, compared)
    asked = (within.namespaces, storable(embedder), values["vector"])
    rows = connection.execute(_GRAPHS, asked).fetchall()
    if rows:
        explored = min(_EXPLORED * room, _MOST_EXPLORED)
        connection.execute("SELECT set_config('hnsw.ef_search', %s, true)", (str(explored),))
    for graph in [Graph(*row) for row in rows]:
        # With its numbers as they are: with placeholders the planner may not know the index.
        nearest = sql.SQL(_NEAREST).format(**_literals(graph))
        found = connection.execute(nearest, values).fetchall()
        if len(found) == room:
            near += [row[0] for row in found]
            compared.remove(graph.namespace)
    return Near(near, compared)


async def keep_graphs(run: Run, *, least: int) -> None:
    """Build the graphs that are missing, and drop those that are too small; others add meanwhile.

    Args:
        run: Runs a statement.
        least: A namespace with so many vectors gets a graph; with less than half, it loses it.

    Raises:
        StoreError: One could not be built; what is half built is dropped the next time.
    """
    if await run("SELECT 1 WHERE NOT pg_try_advisory_lock(%s)", (_LOCK,)):
        return  # another kernel is at it
    # In this process alone: shared memory of some servers' containers is small.
    await run("SET max_parallel_maintenance_workers = 0")
    await run("SET maintenance_work_mem = '256MB'")
    for (half_built,) in await run(_HALF_BUILT):
        await run(_DROP.format(name=sql.Identifier(half_built)))
    counts = {Graph(*row[:3]): row[3] for row in await run(_COUNTS, (least // 2, least // 2))}
    graphs = {Graph(*row) for row in await run("SELECT namespace, embedder, dimensions FROM graph")}
    for graph in sorted(graphs - counts.keys()):
        await run("DELETE FROM graph WHERE (namespace, embedder, dimensions) = (%s, %s, %s)", graph)
        await run(_DROP.format(name=_name(graph)))
    for graph in sorted(counts.keys() - graphs):
        if counts[graph] >= least and graph.dimensions <= _MOST_DIMENSIONS:
            await run(_BUILD.format(name=_name(graph), **_literals(graph)))
            await run("INSERT INTO graph VALUES(%s, %s, %s) ON CONFLICT DO NOTHING", graph)


def _name(graph: Graph) -> sql.Identifier:
    return sql.Identifier("entry_near_" + "_".join(map(str, graph)))


def _literals(graph: Graph) -> dict[str, sql.Literal]:
    return {name: sql.Literal(number) for name, number in graph._asdict().items()}


_GRAPHS = """
SELECT namespace, embedder, dimensions FROM graph JOIN embedder ON no = embedder
WHERE namespace = ANY(%s) AND name = %s AND dimensions = vector_dims(%s::halfvec)
"""

_HELD = """
e.namespace = {namespace} AND e.embedder = {embedder} AND vector_dims(e.vector) = {dimensions}
"""

_NEAREST: Final = f"""
SELECT e.id FROM entry e WHERE {_HELD} AND {WITHIN} AND {FILTERS}
ORDER BY e.vector::halfvec({{dimensions}}) <=> %(vector)s::halfvec({{dimensions}}) LIMIT %(room)s
"""

_BUILD = sql.SQL(
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON entry"
    " USING hnsw ((vector::halfvec({dimensions})) halfvec_cosine_ops)"
    " WHERE namespace = {namespace} AND embedder = {embedder}"
    " AND vector_dims(vector) = {dimensions}"
)
_DROP = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {name}")

_HALF_BUILT = """
SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indrelid = 'entry'::regclass AND NOT indisvalid AND starts_with(relname, 'entry_near_')
"""

# Of all partitions: this counts, and tells nobody.
_COUNTS = """
SELECT e.namespace, e.embedder, vector_dims(e.vector), count(*) FROM entry e
JOIN namespace n ON n.no = e.namespace AND n.current >= %s
WHERE e.vector IS NOT NULL GROUP BY 1, 2, 3 HAVING count(*) >= %s
"""
