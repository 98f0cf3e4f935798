"""What the session store does beyond its contract."""

from pathlib import Path

from backends.database import Database, fetch, open_database
from backends.messages import Exchange
from backends.sessions import SESSIONS, SqliteSessions
from tests.backends.memory_store.stores import Clock
from tests.contracts.test_sessions import KEPT_SECONDS, exchange, requests
from tests.marks import asyncio_only


def sessions_of(database: Database, clock: Clock) -> SqliteSessions:
    return SqliteSessions(
        database, now=clock, per_session=4, per_agent=6, keep_seconds=KEPT_SECONDS
    )


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
