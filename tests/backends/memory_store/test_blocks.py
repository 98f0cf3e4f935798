"""Memories by the thousands: packed into blocks, found and forgotten as if each stood alone."""

from pathlib import Path

import apsw
import numpy as np
from numpy.typing import NDArray

from backends.database import fetch
from backends.memory_store.adding import add
from backends.memory_store.additions import Addition
from backends.memory_store.vectors import Probe, quantise
from backends.messages import MemoryDraft, MemoryQuery, Selection
from backends.protocols import Vectors
from tests.backends.memory_store.embedders import WordEmbedder
from tests.backends.memory_store.stores import NOW, found, open_store, own, place
from tests.marks import asyncio_only

ROWS = 5000  # one large block, some small ones and loose entries


def content(number: int) -> str:
    return f"note{number} says {number % 7} apples and {number % 50} pears"


def fill(connection: apsw.Connection, vectors: Vectors) -> None:
    for number, stored in enumerate(quantise(vectors)):
        add(
            connection,
            Addition(
                draft=MemoryDraft(content=content(number), tags=(f"t{number % 3}",)),
                place=place(),
                id=f"n{number}",
                embedder="words",
                vector=stored,
                now=NOW + number,
                max_rows=ROWS,
                max_bytes=10**9,
            ),
        )


@asyncio_only
async def test_thousands_are_found_filtered_forgotten_and_purged(tmp_path: Path) -> None:
    vectors = await WordEmbedder().embed([content(number) for number in range(ROWS)])
    async with open_store(tmp_path) as opened:
        await opened.database.write(lambda connection: fill(connection, vectors))
        opened.clock.now = NOW + ROWS
        sizes = await opened.database.read(
            lambda connection: fetch(connection, "SELECT rows FROM block ORDER BY rows DESC")
        )
        assert sizes[0][0] >= 2048
        assert len(sizes) > 1
        assert await opened.problems() == []
        for number in (0, 300, 4321, ROWS - 1):
            for mode in ("keyword", "vector", "hybrid"):
                assert (await found(opened.store, content(number), mode=mode))[0] == content(number)
        query = MemoryQuery(
            text="7 pears", mode="keyword", tags=("t1",), since=NOW + 1000, until=NOW + 2000, k=1000
        )
        wanted = {n for n in range(1000, 2000) if n % 3 == 1}  # all of them have pears
        hits = await opened.store.search(query, own())
        assert {hit.id for hit in hits} == {f"n{n}" for n in wanted}

        assert await opened.store.forget(Selection(tags=("t2",)), own(), "") == ROWS // 3
        assert await opened.problems() == []
        left = await found(opened.store, "apples", k=1000, mode="vector")
        assert len(left) == 1000
        assert not any(int(each.split()[0].removeprefix("note")) % 3 == 2 for each in left)


def test_a_probe_ranks_sketches_nearly_as_exact_cosines_do() -> None:
    source = np.random.default_rng(3)
    vectors = source.standard_normal((2000, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    columns = [np.frombuffer(each.sketch, np.uint64) for each in quantise(vectors)]
    sketches = np.ascontiguousarray(np.stack(columns).T)
    kept = kept_by_signs = 0
    for number in range(20):
        query = vectors[number] + 0.05 * source.standard_normal(384).astype(np.float32)
        [asked] = quantise(query[np.newaxis])
        costs = Probe(asked.components).costs([sketches])
        differ = sketches ^ np.frombuffer(asked.sketch, np.uint64)[:, np.newaxis]
        nearest = np.argsort(-(vectors @ query))[:10]
        kept += shared(nearest, costs)
        kept_by_signs += shared(nearest, np.bitwise_count(differ).sum(axis=0))
    assert kept >= 180
    assert kept > kept_by_signs


def shared(nearest: NDArray[np.int64], costs: NDArray[np.unsignedinteger]) -> int:
    """How many of the nearest are among the tenth that costs least."""
    return len({*nearest.tolist()} & {*np.argsort(costs, kind="stable")[:200].tolist()})
