"""What the contract of memory stores does not say: several kernels, and the server's troubles."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from backends.errors import StoreError, StoreFullError
from backends.messages import Added, MemoryDraft, MemoryQuery, SearchMode, Selection
from backends.protocols import MemoryStore
from tests.backends.memory_store import stores
from tests.backends.memory_store.embedders import BrokenEmbedder, WordEmbedder
from tests.backends.memory_store.stores import NOW, PLENTY, Clock, found, own, place
from tests.backends.postgres_memory.servers import Server, postgres
from tests.marks import asyncio_only

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'aios-mcp[postgres]'")

from backends.postgres_memory.texts import labels, tagged
from tests.backends.postgres_memory.stores import open_store

__all__ = ["postgres"]  # the fixture

pytestmark = asyncio_only


@pytest.fixture
async def url(postgres: Server) -> str:
    return await anyio.to_thread.run_sync(postgres.new_database)


async def rows(postgres: Server, url: str, sql: str) -> list[str]:
    return await anyio.to_thread.run_sync(postgres.query, url, sql)


def ids(prefix: str) -> Callable[[], str]:
    numbers = iter(range(1_000_000))
    return lambda: f"{prefix}{next(numbers)}"


async def test_two_kernels_start_on_an_empty_database_and_see_each_others_memories(
    url: str,
) -> None:
    ready = anyio.Event()
    stored = anyio.Event()

    async def other() -> None:
        async with open_store(url, new_id=ids("b")) as store:
            await ready.wait()
            assert await found(store, "apples") == ["apples of one"]
            await store.add(MemoryDraft(content="apples of the other"), place())
            stored.set()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            async with open_store(url, new_id=ids("a")) as store:
                await store.add(MemoryDraft(content="apples of one"), place())
                ready.set()
                await stored.wait()
                assert set(await found(store, "apples")) == {
                    "apples of one",
                    "apples of the other",
                }


async def test_what_two_kernels_add_at_once_is_kept_once_and_within_the_quota(
    postgres: Server, url: str
) -> None:
    added: list[Added] = []
    refused: list[StoreFullError] = []

    async def add(store: MemoryStore, content: str) -> None:
        try:
            added.append(await store.add(MemoryDraft(content=content), place()))
        except StoreFullError as exc:
            refused.append(exc)

    with anyio.fail_after(60):
        async with (
            open_store(url, new_id=ids("a"), quota=(5, 10**9)) as one,
            open_store(url, new_id=ids("b"), quota=(5, 10**9)) as two,
            anyio.create_task_group() as tasks,
        ):
            for number in range(8):
                for store in (one, two):
                    tasks.start_soon(add, store, f"apples {number}")
    assert len({each.id for each in added}) == 5
    assert sum(not each.deduplicated for each in added) == 5
    assert len(added) + len(refused) == 16
    assert await rows(postgres, url, "SELECT rows FROM space") == ["5"]


async def test_a_key_adds_once_whichever_kernel_is_asked(url: str) -> None:
    once = MemoryDraft(content="apples", idempotency_key="k", source={"agent": "ada"})
    async with open_store(url, new_id=ids("a")) as one, open_store(url, new_id=ids("b")) as two:
        first = await one.add(once, place())
        again = await two.add(once, place())
        assert (again.id, again.deduplicated) == (first.id, True)


async def test_calls_that_cross_do_not_lock_each_other_for_ever(url: str) -> None:
    both = [*own("ada"), *own("ben")]
    with anyio.fail_after(60):
        async with open_store(url) as store, anyio.create_task_group() as tasks:
            for number in range(12):
                for owner in ("ada", "ben"):
                    content = MemoryDraft(content=f"apples {number}", tags=(str(number),))
                    tasks.start_soon(store.add, content, place(owner))
                for reach in (both, both[::-1]):
                    chosen = Selection(tags=(str(number),))
                    tasks.start_soon(store.forget, chosen, reach, "")


async def test_a_server_that_was_restarted_is_found_again(postgres: Server, url: str) -> None:
    async with open_store(url) as store:
        await store.add(MemoryDraft(content="apples"), place())
        await anyio.to_thread.run_sync(postgres.stop)
        with pytest.raises(StoreError, match="cannot be reached") as failure:
            await store.add(MemoryDraft(content="pears"), place())
        assert str(postgres.directory) not in str(failure.value)
        await anyio.to_thread.run_sync(postgres.start)
        assert await found(store, "apples") == ["apples"]
        await store.add(MemoryDraft(content="pears"), place())


async def test_a_connection_that_was_cut_is_replaced(postgres: Server, url: str) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name='aios-mcp'"
    async with open_store(url) as store:
        await store.add(MemoryDraft(content="apples"), place())
        assert await rows(postgres, url, cut)
        await store.add(MemoryDraft(content="pears"), place())
        assert set(await found(store, "apples pears")) == {"apples", "pears"}


async def test_tables_of_a_newer_version_are_left_alone(postgres: Server, url: str) -> None:
    async with open_store(url):
        pass
    await rows(postgres, url, "INSERT INTO version VALUES(99)")
    with pytest.raises(StoreError, match="newer version"):
        async with open_store(url):
            pass


async def test_tables_of_version_1_keep_what_they_hold(postgres: Server, url: str) -> None:
    async with open_store(url, new_id=ids("a")) as store:
        for text in ("when does the harbour close", "on Sundays"):
            await store.add(MemoryDraft(content=text, session="s", tags=("t",)), place())
    back = "DROP TABLE graph; ALTER TABLE entry DROP COLUMN nearness; DELETE FROM version"
    label = ",".join(map(str, tagged(1, labels(("t",), "s"))))
    unlabel = f"ARRAY(SELECT word FROM unnest(words) word WHERE word <> ALL(ARRAY[{label}]))"
    await rows(postgres, url, f"{back}; INSERT INTO version VALUES(1)")
    await rows(postgres, url, f"UPDATE entry SET words = {unlabel}")
    async with open_store(url, new_id=ids("b")) as store:
        first, second = await store.search(MemoryQuery(text="harbour", explain=True), own())
        assert (first.content, second.content) == ("when does the harbour close", "on Sundays")
        assert (second.why or {})["neighbours"] > 0
        for query in (
            MemoryQuery(text="harbour", tags=("t",)),
            MemoryQuery(text="harbour", session="s"),
        ):
            assert {hit.id for hit in await store.search(query, own())} == {first.id, second.id}
        assert await store.reembed() == 0
        await store.add(MemoryDraft(content="the harbour opens"), place())
    assert await rows(postgres, url, "SELECT no FROM version ORDER BY no") == ["1", "2"]


async def test_a_database_that_is_not_there_is_told(url: str) -> None:
    with pytest.raises(StoreError, match="cannot be reached"):
        async with open_store(url.replace("/test_", "/none_")):
            pass


async def test_what_was_forgotten_or_has_expired_leaves_the_tables(
    postgres: Server, url: str
) -> None:
    clock = Clock()
    async with open_store(url, clock=clock) as store:
        gone = await store.add(MemoryDraft(content="apples"), place())
        linked = MemoryDraft(content="pears", links=(("of", gone.id),), expires=NOW + 1)
        await store.add(linked, place())
        await store.forget(Selection(ids=(gone.id,)), own(), "wrong")
        clock.now = NOW + 1
        assert await store.purge() == 1
        assert await store.purge() == 0
    for table in ("memory", "entry", "link"):
        assert await rows(postgres, url, f"SELECT * FROM {table}") == []
    reasons = await rows(postgres, url, "SELECT public, reason FROM tombstone ORDER BY id")
    assert reasons == [f"{gone.id}|wrong", "m2|expired"]


async def test_vectors_that_are_missing_or_another_embedders_are_made(url: str) -> None:
    async with open_store(url, BrokenEmbedder(), new_id=ids("a")) as store:
        await store.add(MemoryDraft(content="apples and pears"), place())
        await store.add(MemoryDraft(content="?!"), place())
        # The other one was said right after it.
        assert await found(store, "apples", mode="hybrid") == ["apples and pears", "?!"]
    for name in ("first", "second"):
        async with open_store(url, WordEmbedder(name)) as store:
            assert await found(store, "pears", mode="vector") == []
            assert await store.reembed(batch=1) == 2
            assert await store.reembed() == 0
            assert await found(store, "pears", mode="vector") == ["apples and pears"]


@pytest.mark.parametrize("mode", ["keyword", "vector", "hybrid"])
async def test_scores_are_those_of_the_other_store(
    url: str, tmp_path: Path, mode: SearchMode
) -> None:
    drafts = [
        MemoryDraft(
            content=f"apples {word} number {n}",
            session="s" if n in {3, 4, 6} else "",
            source={"agent": "ada" if n < 10 else "ben"},
            created=NOW - 60.0 * (15 - n) ** 2,
        )
        for n, word in enumerate(("red", "green", "pears") * 5)
    ]
    query = MemoryQuery(
        text="are the pears green?", k=50, mode=mode, recency=0.1, importance=0.1, explain=True
    )
    async with open_store(url) as store, stores.open_store(tmp_path, quota=PLENTY) as opened:
        for draft in drafts:
            for each in (store, opened.store):
                await each.add(draft, place())
        ours = {hit.id: hit for hit in await store.search(query, own())}
        theirs = {hit.id: hit for hit in await opened.store.search(query, own())}
    assert len(ours) >= 10
    assert ours.keys() == theirs.keys()
    for memory, hit in ours.items():
        other = theirs[memory]
        assert hit.score == pytest.approx(other.score, abs=0.02)
        assert hit.why == pytest.approx(other.why, abs=0.02)
        assert replace(hit, score=0, why=None) == replace(other, score=0, why=None)
