"""What the session store does beyond its contract."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from backends.database import Database, fetch, open_database
from backends.errors import StoreError
from backends.messages import Exchange
from backends.sessions import SESSIONS, SqliteSessions
from tests.backends.memory_store.stores import Clock
from tests.contracts.test_sessions import KEPT_SECONDS, exchange, requests
from tests.marks import asyncio_only

TRACES = (b"asked 4711", b"answered 4711", b"zebracode", b"quagga")


def sessions_of(database: Database, now: Callable[[], float]) -> SqliteSessions:
    return SqliteSessions(database, now=now, per_session=4, per_agent=6, keep_seconds=KEPT_SECONDS)


@asyncio_only
async def test_what_waits_outlives_the_process_that_had_taken_it(tmp_path: Path) -> None:
    clock = Clock()
    async with open_database(tmp_path / "aios.db", [SESSIONS]) as database:
        store = sessions_of(database, clock)
        await store.keep(exchange(1), extract=True)
        assert requests(await store.take(least=1, idle_seconds=60)) == ["r1"]
    async with open_database(tmp_path / "aios.db", [SESSIONS]) as database:
        store = sessions_of(database, clock)
        assert requests(await store.last("ada", "s", 9)) == ["r1"]
        assert await store.take(least=1, idle_seconds=60) == ()
        clock.now += 600
        assert requests(await store.take(least=1, idle_seconds=60)) == ["r1"]


@asyncio_only
async def test_what_was_kept_long_enough_leaves_the_table(tmp_path: Path) -> None:
    clock = Clock()
    async with open_database(tmp_path / "aios.db", [SESSIONS]) as database:
        store = sessions_of(database, clock)
        await store.keep(exchange(1), extract=True)
        clock.now += KEPT_SECONDS
        await store.keep(exchange(2, session="other", at=clock.now), extract=True)
        kept = await database.read(lambda each: fetch(each, "SELECT request FROM exchange"))
        assert kept == [("r2",)]
        clock.now += KEPT_SECONDS
        await store.purge()
        assert await database.read(lambda each: fetch(each, "SELECT * FROM exchange")) == []


def files(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


@asyncio_only
@pytest.mark.parametrize("is_forgotten", [True, False])
async def test_what_was_forgotten_or_kept_long_enough_leaves_the_files(
    tmp_path: Path, is_forgotten: bool
) -> None:
    clock = Clock()
    async with open_database(tmp_path / "aios.db", [SESSIONS]) as database:
        store = sessions_of(database, clock)
        await store.keep(exchange(4711), extract=True)
        # Long enough for pages of its own.
        long = replace(exchange(1), asked="zebracode " * 1500, answered="quagga " * 2000)
        await store.keep(long, extract=False)
        assert [text for text in TRACES if text not in files(tmp_path)] == []
        if is_forgotten:
            assert await store.forget("ada", "s") == 2
        else:
            clock.now += KEPT_SECONDS
            await store.purge()
        content = files(tmp_path)
        assert [text for text in TRACES if text in content] == []


@asyncio_only
async def test_it_purges_by_itself_again_and_again(tmp_path: Path) -> None:
    clock, asked = Clock(), itertools.count()
    has_purged = anyio.Event()

    def now() -> float:
        match next(asked):
            case 0:
                raise StoreError("the disk is full")
            case 2:  # the round before has come to its end
                has_purged.set()
            case _:
                pass
        return clock.now

    async with open_database(tmp_path / "aios.db", [SESSIONS]) as database:
        await sessions_of(database, clock).keep(exchange(4711), extract=True)
        clock.now += KEPT_SECONDS
        store = sessions_of(database, now)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(store.keep_short, every_seconds=0.0))
                await has_purged.wait()
                tasks.cancel_scope.cancel()
        content = files(tmp_path)
        assert [text for text in TRACES if text in content] == []


@asyncio_only
async def test_any_text_can_be_kept_and_long_ones_are_cut(tmp_path: Path) -> None:
    odd = Exchange(
        agent="\ud800", session="\0", request="r", asked="\udfff", answered="x" * 20_000, at=0.0
    )
    async with open_database(tmp_path / "aios.db", [SESSIONS]) as database:
        store = sessions_of(database, Clock(0.0))
        await store.keep(odd, extract=False)
        [kept] = await store.last("\ud800", "\0", 1)
        assert kept.asked == "\N{REPLACEMENT CHARACTER}"
        assert (len(kept.answered), kept.answered[-1]) == (16_384, "…")
