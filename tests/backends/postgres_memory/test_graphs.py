"""Namespaces with many vectors are searched by graphs, and find what comparing all would find."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import numpy as np
import pytest

from backends.messages import MemoryDraft, MemoryQuery, Selection
from backends.protocols import MemoryStore, Vectors
from tests.backends.memory_store.stores import own, place
from tests.backends.postgres_memory.servers import Server, postgres
from tests.marks import asyncio_only

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'aios-mcp[postgres]'")

from backends.errors import StoreError
from backends.postgres_memory import PostgresMemoryStore, PostgresSettings
from backends.postgres_memory.connections import Connections
from tests.backends.postgres_memory.stores import open_store

__all__ = ["postgres"]  # the fixture

pytestmark = asyncio_only

GRAPH_ROWS = 200
ROWS = 300
INDEXES = "SELECT relname FROM pg_class WHERE starts_with(relname, 'entry_near_') ORDER BY relname"


class RandomEmbedder:
    """Gives each text a direction of its own."""

    name = "random"

    def __init__(self, dimensions: int = 24) -> None:
        self._dimensions = dimensions

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        vectors = [
            np.random.default_rng(list(text.encode())).standard_normal(self._dimensions)
            for text in texts
        ]
        return np.array(vectors, np.float32)


@pytest.fixture
async def url(postgres: Server) -> str:
    """A database whose planner takes the graph although there are few rows."""
    url = await anyio.to_thread.run_sync(postgres.new_database)
    name = url.partition("@/")[2].partition("?")[0]
    for way in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
        await rows(postgres, url, f"ALTER DATABASE {name} SET {way} = off")
    return url


async def rows(postgres: Server, url: str, sql: str) -> list[str]:
    return await anyio.to_thread.run_sync(postgres.query, url, sql)


@asynccontextmanager
async def filled(url: str, **more: int) -> AsyncGenerator[PostgresMemoryStore]:
    """Give a store with memories of ada, and so many of others."""
    async with open_store(url, RandomEmbedder(), graph_rows=GRAPH_ROWS) as store:
        async with anyio.create_task_group() as tasks:
            for owner, count in {"ada": ROWS, **more}.items():
                tasks.start_soon(fill, store, owner, count)
        yield store


async def fill(store: MemoryStore, owner: str, count: int) -> None:
    for number in range(count):
        tags = ("few",) if number % 60 == 0 else ()
        draft = MemoryDraft(content=f"{owner} {number}", tags=tags)
        await store.add(draft, place(owner))
    await store.add(MemoryDraft(content=f"{owner} beside"), place(owner, "self/small"))


async def nearest(store: MemoryStore, text: str, owner: str = "ada", **fields: object) -> list[str]:
    query = MemoryQuery(text=text, mode="vector", **fields)  # type: ignore[arg-type]
    return [hit.content for hit in await store.search(query, own(owner))]


async def test_a_graph_finds_what_comparing_all_finds(postgres: Server, url: str) -> None:
    queries = [f"query {number}" for number in range(20)]
    # Many more than are looked at on the way through the graph.
    async with filled(url, ada=1000, ben=GRAPH_ROWS) as store:
        exact = {text: await nearest(store, text, k=10) for text in queries}
        assert await store.reembed() == 0
        assert len(await rows(postgres, url, INDEXES)) == 2
        found = {text: await nearest(store, text, k=10) for text in queries}
        shared = sum(len({*exact[text]} & {*found[text]}) for text in queries)
        assert shared >= 0.98 * sum(map(len, exact.values()))
        # What stands in a namespace without a graph, and what was added since, is found as well.
        assert (await nearest(store, "ada beside"))[0] == "ada beside"
        await store.add(MemoryDraft(content="ada anew"), place())
        assert (await nearest(store, "ada anew"))[0] == "ada anew"
        assert {each.split()[0] for each in await nearest(store, "ada 1", "ben", k=50)} == {"ben"}
    await rows(postgres, url, "SELECT pg_stat_force_next_flush()")
    used = "SELECT min(idx_scan) FROM pg_stat_user_indexes WHERE starts_with(indexrelname, '{}')"
    [scans] = await rows(postgres, url, used.format("entry_near_1"))
    assert int(scans) > len(queries)


async def test_filters_and_any_number_of_hits_find_all_that_there_is(url: str) -> None:
    async with filled(url) as store:
        few = {f"ada {number}" for number in range(0, ROWS, 60)}
        before = await nearest(store, "query", tags=("few",))
        assert {*before} == few
        everything = await nearest(store, "query", k=1000)
        await store.reembed()
        assert await nearest(store, "query", tags=("few",)) == before
        assert await nearest(store, "query", k=1000) == everything
        assert len(everything) == ROWS + 1
        await store.forget(Selection(tags=("few",)), own(), "")
        assert few & {*await nearest(store, "query", k=1000)} == set()


async def test_a_graph_goes_when_little_is_left_of_it(postgres: Server, url: str) -> None:
    async with filled(url) as store:
        await store.reembed()
        [name] = await rows(postgres, url, INDEXES)
        # As a kernel leaves it that died while it built.
        half_built = f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{name}'::regclass"
        await rows(postgres, url, f"{half_built}; DELETE FROM graph")
        await store.reembed()
        assert await rows(postgres, url, INDEXES) == [name]
        assert await rows(postgres, url, "SELECT * FROM pg_index WHERE NOT indisvalid") == []
        for _ in range(2):
            every = await nearest(store, "query", k=GRAPH_ROWS // 2 + 5)
            chosen = [hit for hit in await store.records(own()) if hit.draft.content in every]
            await store.forget(Selection(ids=tuple(each.id for each in chosen)), own(), "")
        await store.reembed()
        assert await rows(postgres, url, INDEXES) == []
        assert await rows(postgres, url, "SELECT * FROM graph") == []
        assert len(await nearest(store, "query", k=1000)) == ROWS + 1 - 2 * (GRAPH_ROWS // 2 + 5)


async def test_one_kernel_at_a_time_builds(postgres: Server, url: str) -> None:
    connections = Connections(PostgresSettings(url=url))
    async with filled(url) as store, connections.apart() as run:
        assert await run("SELECT pg_try_advisory_lock(%s)", (0x61696F736D6371,)) == [(True,)]
        await store.reembed()
        assert await rows(postgres, url, INDEXES) == []


async def test_vectors_of_another_length_under_the_same_name_are_left_out(
    postgres: Server, url: str
) -> None:
    async with filled(url) as store:
        await store.reembed()
        assert len(await rows(postgres, url, INDEXES)) == 1
    async with open_store(url, RandomEmbedder(32), new_id=iter("xyz").__next__) as store:
        await store.add(MemoryDraft(content="longer"), place())
        assert await nearest(store, "longer") == ["longer"]
        for mode in ("hybrid", "keyword"):
            query = MemoryQuery(text="longer", mode=mode, k=1)
            [hit] = await store.search(query, own())
            assert hit.content == "longer"


async def test_a_statement_whose_caller_is_cancelled_ends_on_the_server(
    postgres: Server, url: str
) -> None:
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
    connections = Connections(PostgresSettings(url=url))
    with anyio.fail_after(60):
        async with connections.apart() as run:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, "SELECT pg_sleep(600)")
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            assert await run("SELECT 1") == [(1,)]
            assert await rows(postgres, url, running) == ["0"]
            with pytest.raises(StoreError, match="the log says how"):
                await run("SELECT 1 / 0")
