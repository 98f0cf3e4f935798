"""The memory store on PostgreSQL: `backends.protocols.MemoryStore` for several kernels at once."""

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from backends.errors import StoreFullError
from backends.memory_store.schema import ROW_OVERHEAD_BYTES
from backends.memory_store.store import MAX_CONTENT_BYTES, MAX_QUERY_CHARACTERS
from backends.memory_store.text_vectors import TextVectors
from backends.messages import (
    Added,
    Hit,
    MemoryCounts,
    MemoryDraft,
    MemoryQuery,
    MemoryRecord,
    Place,
    Reach,
    Selection,
)
from backends.postgres_memory.adding import add
from backends.postgres_memory.connections import Connection, Connections, PostgresSettings
from backends.postgres_memory.forgetting import erase_expired, forget
from backends.postgres_memory.graphs import keep_graphs
from backends.postgres_memory.inserting import Addition, embedder_number
from backends.postgres_memory.partitions import find_space, find_within
from backends.postgres_memory.schema import migrate
from backends.postgres_memory.searching import Search, search
from backends.postgres_memory.showing import fetch_by_id, list_records
from backends.postgres_memory.texts import Words, storable, storable_draft
from backends.protocols import Embedder, Vectors


class PostgresMemoryStore:
    """Memories in PostgreSQL, each owner's in a partition of its own.

    `open_postgres_memory` makes it. It answers as `SqliteMemoryStore` does, except that the
    character 0, which PostgreSQL cannot hold, comes back as U+FFFD. Vectors are compared exactly,
    with two bytes a component, or where a namespace holds many by a graph, see `graphs`.
    """

    def __init__(
        self,
        connections: Connections,
        embedder: Embedder,
        *,
        now: Callable[[], float],
        new_id: Callable[[], str],
        quota: Callable[[str], tuple[int, int]],
        graph_rows: int,
    ) -> None:
        self._connections = connections
        self._vectors = TextVectors(embedder, _all_written)
        self._now = now
        self._new_id = new_id
        self._quota = quota
        self._graph_rows = graph_rows
        self._words = Words()

    async def add(self, draft: MemoryDraft, place: Place, /) -> Added:
        """Store a memory; returns after it is durable."""
        draft = storable_draft(draft)
        if len(draft.content.encode()) > MAX_CONTENT_BYTES:
            raise StoreFullError(
                f"a memory holds at most {MAX_CONTENT_BYTES} bytes; split this one up"
            )
        vector = await self._vectors.of_memory(draft.content, place.owner)
        max_rows, max_bytes = self._quota(place.owner)
        addition = Addition(
            draft=draft,
            place=Place(storable(place.owner), storable(place.namespace)),
            id=self._new_id(),
            embedder=self._vectors.embedder,
            vector=vector,
            now=self._now(),
            max_rows=max_rows,
            max_bytes=max_bytes,
        )
        return await self._connections.write(
            lambda connection: add(connection, addition, self._words)
        )

    async def search(self, query: MemoryQuery, reach: Sequence[Reach], /) -> tuple[Hit, ...]:
        """Find memories, best first; without an embedder that works, by their words alone.

        Raises:
            BackendError: The embedder failed in a search by vectors alone.
        """
        now = self._now()
        if query.id is not None:
            return await self._connections.read(
                lambda connection: fetch_by_id(
                    connection, find_within(connection, reach, now), query
                )
            )
        if query.text is not None:
            query = replace(query, text=storable(query.text[:MAX_QUERY_CHARACTERS]).strip())
        if query.k < 1 or (query.text is None and query.session is None) or query.text == "":
            return ()
        vector = await self._vectors.of_query(query, reach)

        def work(connection: Connection) -> tuple[Hit, ...]:
            asked = Search(
                query=query,
                embedder=self._vectors.embedder,
                vector=vector,
                words=self._words.looked_for(query.text or ""),
            )
            return search(connection, find_within(connection, reach, now), asked)

        return await self._connections.read(work)

    async def forget(self, selection: Selection, reach: Sequence[Reach], reason: str, /) -> int:
        """Delete memories; the server reuses their room, and overwrites it, after its vacuum."""
        now = self._now()
        self._vectors.drop()
        return await self._connections.write(
            lambda connection: forget(
                connection, find_within(connection, reach, now), selection, storable(reason)
            )
        )

    async def count(self, owner: str, /) -> MemoryCounts:
        """Count what one partition holds, older versions included, as its quota does."""
        now = self._now()

        def work(connection: Connection) -> MemoryCounts:
            values = {"space": find_space(connection, owner), "now": now}
            row = connection.execute(_COUNT, values).fetchone()
            rows, size_bytes = row or (0, 0)
            return MemoryCounts(rows=rows, size_bytes=size_bytes + rows * ROW_OVERHEAD_BYTES)

        return await self._connections.read(work)

    async def records(
        self, reach: Sequence[Reach], /, *, after: int = 0, limit: int = 500
    ) -> tuple[MemoryRecord, ...]:
        """List memories by position, older versions included, those that have expired not."""
        now = self._now()
        return await self._connections.read(
            lambda connection: list_records(
                connection, find_within(connection, reach, now), after=after, limit=limit
            )
        )

    async def purge(self) -> int:
        """Take all that has expired out of the tables; returns how many memories."""
        now, total = self._now(), 0
        spaces = await self._connections.read(
            lambda connection: connection.execute(
                "SELECT DISTINCT space FROM memory WHERE expires <= %s ORDER BY space", (now,)
            ).fetchall()
        )
        for (space,) in spaces:
            while erased := await self._erase_expired(space, now):
                total += erased
        async with self._connections.apart() as run:
            await run("VACUUM memory, entry, added_once")
        return total

    async def reembed(self, *, batch: int = 32) -> int:
        """Make the vectors that are missing or another embedder's, then the graphs over many.

        Returns how many vectors. Several kernels may do so at a time; with embedders of one name,
        or they undo each other's.

        Raises:
            BackendError: The embedder failed; what was done until then is kept.
        """
        last, total, name = 0, 0, self._vectors.embedder
        while True:
            stale = partial(_stale, embedder=name, after=last, limit=batch)
            rows = await self._connections.read(stale)
            if not rows:
                break
            vectors = await self._vectors.of([content for _, content in rows])
            made = [(memory, vector) for (memory, _), vector in zip(rows, vectors, strict=True)]
            await self._connections.write(partial(_set_vectors, embedder=name, made=made))
            last, total = rows[-1][0], total + len(rows)
        async with self._connections.apart() as run:
            await keep_graphs(run, least=self._graph_rows)
        return total

    async def _erase_expired(self, space: int, now: float) -> int:
        def work(connection: Connection) -> int:
            connection.execute("SELECT no FROM space WHERE no = %s FOR UPDATE", (space,))
            return erase_expired(connection, space, now)

        return await self._connections.write(work)


@asynccontextmanager
async def open_postgres_memory(
    settings: PostgresSettings,
    embedder: Embedder,
    *,
    now: Callable[[], float],
    new_id: Callable[[], str],
    quota: Callable[[str], tuple[int, int]],
) -> AsyncGenerator[PostgresMemoryStore]:
    """Open the database, with its tables made or brought up to date.

    Args:
        settings: Where it is.
        embedder: Makes the vectors; its name is kept with each.
        now: Gives Unix seconds.
        new_id: Gives an id that nobody can guess.
        quota: Gives the most rows and bytes of an owner's partition.

    Raises:
        StoreError: It cannot be reached, or used.
    """
    connections = Connections(settings)
    try:
        await connections.write(migrate)
        yield PostgresMemoryStore(
            connections,
            embedder,
            now=now,
            new_id=new_id,
            quota=quota,
            graph_rows=settings.graph_rows,
        )
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(connections.close)


def _all_written(vectors: Vectors) -> list[str]:
    return [_written(vector) for vector in vectors]


def _written(vector: NDArray[np.float32]) -> str:
    """Give a vector as pgvector reads it, "" for one without direction."""
    largest = float(np.abs(vector).max(initial=0.0))
    if not 0.0 < largest < math.inf:
        return ""
    # Only angles are compared, and what is far from 1 has no place in two bytes.
    components: list[float] = (vector / largest).tolist()
    return f"[{','.join(f'{component:.6g}' for component in components)}]"


def _stale(
    connection: Connection, *, embedder: str, after: int, limit: int
) -> list[tuple[int, str]]:
    values = {"embedder": storable(embedder), "after": after, "limit": limit}
    return [(row[0], row[1]) for row in connection.execute(_STALE, values).fetchall()]


def _set_vectors(connection: Connection, *, embedder: str, made: Sequence[tuple[int, str]]) -> None:
    number = embedder_number(connection, embedder)
    for memory, vector in made:  # one that was forgotten meanwhile is not there to be updated
        connection.execute(
            "UPDATE entry SET embedder = %s, vector = %s::halfvec WHERE id = %s",
            (number, vector or None, memory),
        )


_COUNT = """
SELECT s.rows - count(m.id), s.bytes - coalesce(sum(m.size), 0)::bigint
FROM space s LEFT JOIN memory m ON m.space = s.no AND m.expires <= %(now)s
WHERE s.no = %(space)s GROUP BY s.no
"""

_STALE = """
SELECT e.id, m.content FROM entry e JOIN memory m USING (id)
WHERE e.id > %(after)s
    AND e.embedder IS DISTINCT FROM
        coalesce((SELECT no FROM embedder WHERE name = %(embedder)s), 0)
ORDER BY e.id LIMIT %(limit)s
"""
