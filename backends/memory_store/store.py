"""The memory store: `backends.protocols.MemoryStore` on the kernel's database."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import anyio
import anyio.to_thread
import apsw

from backends.database import Database, fetch, fetch_one, scrub
from backends.errors import StoreFullError
from backends.memory_store.adding import embedder_number
from backends.memory_store.adding_together import add_all
from backends.memory_store.additions import Addition
from backends.memory_store.entries import describe, enter, leave, pack, repack, stale_memories
from backends.memory_store.forgetting import erase_expired, forget
from backends.memory_store.listing import list_records
from backends.memory_store.packed import Kept
from backends.memory_store.partitions import find_partitions, find_space
from backends.memory_store.schema import ROW_OVERHEAD_BYTES, SEQ_BITS
from backends.memory_store.searching import Search, fetch_by_id, search
from backends.memory_store.text_vectors import TextVectors
from backends.memory_store.vectors import Stored, quantise
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
from backends.protocols import Embedder
from backends.text import well_formed

MAX_CONTENT_BYTES = 1 << 20
MAX_QUERY_CHARACTERS = 4096

_CLEAN_SECONDS = 10.0
_REPACKED_AT_ONCE = 1

logger = logging.getLogger(__name__)


class SqliteMemoryStore:
    """Memories in SQLite, each owner's in a partition of its own.

    Invariants, shown by `tests/backends/memory_store/test_properties.py`:
        - a call finds, fetches, forgets, replaces, links and deduplicates only within its reach;
        - a search finds exactly the memories that were neither replaced, forgotten nor expired.

    A memory whose embedder fails or takes longer than ten seconds is stored all the same and found
    by its words; `reembed` makes up for the vector.
    """

    def __init__(
        self,
        database: Database,
        embedder: Embedder,
        *,
        now: Callable[[], float],
        new_id: Callable[[], str],
        quota: Callable[[str], tuple[int, int]],
        cache_bytes: int = 128 << 20,
    ) -> None:
        """Keep what it works with.

        Args:
            database: Opened with the component `MEMORY_STORE`.
            embedder: Makes the vectors; its name is kept with each.
            now: Gives Unix seconds.
            new_id: Gives an id that nobody can guess.
            quota: Gives the most rows and bytes of an owner's partition.
            cache_bytes: Most of the index that searches keep in memory.
        """
        self._database = database
        self._vectors = TextVectors(embedder, quantise)
        self._now = now
        self._new_id = new_id
        self._quota = quota
        self._kept = Kept(cache_bytes)

    async def add(self, draft: MemoryDraft, place: Place, /) -> Added:
        """Store a memory; returns after it is durable."""
        draft = _cleaned(draft)
        if len(draft.content.encode()) > MAX_CONTENT_BYTES:
            raise StoreFullError(
                f"a memory holds at most {MAX_CONTENT_BYTES} bytes; split this one up"
            )
        vector = await self._vectors.of_memory(draft.content, place.owner)
        max_rows, max_bytes = self._quota(place.owner)
        addition = Addition(
            draft=draft,
            place=Place(well_formed(place.owner), well_formed(place.namespace)),
            id=self._new_id(),
            embedder=self._vectors.embedder,
            vector=vector,
            now=self._now(),
            max_rows=max_rows,
            max_bytes=max_bytes,
        )
        return await self._database.write_with_others(add_all, addition)

    async def search(self, query: MemoryQuery, reach: Sequence[Reach], /) -> tuple[Hit, ...]:
        """Find memories, best first; without an embedder that works, by their words alone.

        Raises:
            BackendError: The embedder failed in a search by vectors alone.
        """
        now = self._now()
        if query.id is not None:
            return await self._database.read(
                lambda connection: fetch_by_id(
                    connection, find_partitions(connection, reach), query, now
                )
            )
        text, session = _cut(query.text), _cleaned_label(query.session)
        if (text, session) != (query.text, query.session):
            query = replace(query, text=text, session=session)
        if query.k < 1 or (query.text is None and query.session is None) or query.text == "":
            return ()
        asked = Search(
            query=query,
            embedder=self._vectors.embedder,
            vector=await self._vectors.of_query(query, reach),
            now=now,
        )
        return await self._database.read(
            lambda connection: search(
                connection, find_partitions(connection, reach), asked, self._kept
            )
        )

    async def forget(self, selection: Selection, reach: Sequence[Reach], reason: str, /) -> int:
        """Take memories out of every later search, then out of the file; returns how many."""
        now, reason = self._now(), well_formed(reason)

        def work(connection: apsw.Connection) -> int:
            partitions = find_partitions(connection, reach)
            return forget(connection, partitions, selection, reason=reason, now=now)

        count = await self._database.write(work)
        if count:
            with anyio.move_on_after(_CLEAN_SECONDS) as cleaning:
                await self._clean()
            if cleaning.cancelled_caught:
                logger.info("forgotten memories wait for the next purge")
        return count

    async def count(self, owner: str, /) -> MemoryCounts:
        """Count what one partition holds, older versions included, as its quota does."""
        now = self._now()

        def work(connection: apsw.Connection) -> MemoryCounts:
            row = fetch_one(connection, _COUNT, (find_space(connection, owner), now))
            rows, size_bytes = row or (0, 0)
            return MemoryCounts(rows=rows, size_bytes=size_bytes + rows * ROW_OVERHEAD_BYTES)

        return await self._database.read(work)

    async def records(
        self, reach: Sequence[Reach], /, *, after: int = 0, limit: int = 500
    ) -> tuple[MemoryRecord, ...]:
        """List memories by position, older versions included, those that have expired not."""
        now = self._now()
        return await self._database.read(
            lambda connection: list_records(
                connection, find_partitions(connection, reach), after=after, limit=limit, now=now
            )
        )

    async def purge(self) -> int:
        """Take all that has expired out of the file; returns how many memories."""
        now, total = self._now(), 0
        spaces = await self._database.read(
            lambda connection: fetch(
                connection, "SELECT DISTINCT id >> 32 FROM memory WHERE expires <= ?", (now,)
            )
        )
        for (space,) in spaces:
            while erased := await self._erase_expired(space, now):
                total += erased
        await self._clean()
        return total

    async def reembed(self, *, batch: int = 32) -> int:
        """Make the vectors that are missing or another embedder's; returns how many.

        Raises:
            BackendError: The embedder failed; what was done until then is kept.
        """
        name, total = self._vectors.embedder, 0
        while True:
            rows = await self._database.read(partial(_stale, embedder=name, limit=batch))
            if not rows:
                return total
            vectors = await self._vectors.of([content for _, content in rows])
            made = [(memory, vector) for (memory, _), vector in zip(rows, vectors, strict=True)]
            await self._database.write(partial(_set_vectors, embedder=name, made=made))
            total += len(rows)

    async def _erase_expired(self, space: int, now: float) -> int:
        return await self._database.write(lambda connection: erase_expired(connection, space, now))

    async def _clean(self) -> None:
        self._vectors.drop()
        # One transaction for some, so that others may write in between.
        while spaces := await self._database.write(partial(repack, limit=_REPACKED_AT_ONCE)):
            self._kept.drop(spaces)
        if not await anyio.to_thread.run_sync(scrub, self._database.path):
            logger.info("forgotten memories wait in the log")


_COUNT = """
SELECT rows - (SELECT count(*) FROM memory WHERE id >> 32 = ?1 AND expires <= ?2),
       bytes - (SELECT coalesce(sum(size), 0) FROM memory WHERE id >> 32 = ?1 AND expires <= ?2)
FROM space WHERE no = ?1
"""


def _stale(connection: apsw.Connection, *, embedder: str, limit: int) -> list[tuple[int, str]]:
    """Give memories whose vector is missing or another embedder's, with their texts."""
    row = fetch_one(connection, "SELECT no FROM embedder WHERE name = ?", (embedder,))
    stale = stale_memories(connection, -1 if row is None else row[0], limit)
    rows = fetch(
        connection,
        "SELECT id, content FROM memory WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        (json.dumps(stale),),
    )
    return [(row[0], row[1]) for row in rows]


def _set_vectors(
    connection: apsw.Connection, *, embedder: str, made: Sequence[tuple[int, Stored]]
) -> None:
    number = embedder_number(connection, embedder)
    for memory, vector in made:
        described = describe(connection, memory)
        if described is not None:  # it may have been forgotten or replaced meanwhile
            space = memory >> SEQ_BITS
            leave(connection, space, [memory])
            enter(connection, described, number, vector)
    for space in {memory >> SEQ_BITS for memory, _ in made}:
        pack(connection, space)


def _cut(text: str | None) -> str | None:
    return None if text is None else well_formed(text[:MAX_QUERY_CHARACTERS]).strip()


def _cleaned_label(text: str | None) -> str | None:
    return None if text is None else well_formed(text)


def _cleaned(draft: MemoryDraft) -> MemoryDraft:
    labels = (draft.kind, draft.session, draft.reason, draft.replaces, draft.idempotency_key)
    texts = chain((draft.content,), filter(None, labels), draft.tags, *draft.links)
    if all(map(str.isascii, texts)):
        return draft
    return replace(
        draft,
        content=well_formed(draft.content),
        kind=well_formed(draft.kind),
        session=well_formed(draft.session),
        reason=well_formed(draft.reason),
        tags=tuple(map(well_formed, draft.tags)),
        replaces=None if draft.replaces is None else well_formed(draft.replaces),
        links=tuple(
            (well_formed(relation), well_formed(target)) for relation, target in draft.links
        ),
        idempotency_key=None
        if draft.idempotency_key is None
        else well_formed(draft.idempotency_key),
    )
