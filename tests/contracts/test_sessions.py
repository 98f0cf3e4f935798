"""Contract of `Sessions` and `Backlog`: every implementation passes these tests."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol, cast

import pytest

from backends.database import open_database
from backends.messages import Exchange
from backends.protocols import Backlog, Sessions
from backends.scripted_sessions import ListSessions
from backends.sessions import SESSIONS, SqliteSessions
from tests.backends.memory_store.stores import NOW, Clock

KEPT_SECONDS = 3600.0


class Store(Sessions, Backlog, Protocol):
    """Both at once."""


Opener = Callable[[Path, Clock], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def in_sqlite(directory: Path, clock: Clock) -> AsyncGenerator[Store]:
    async with open_database(directory / "aios.db", [SESSIONS]) as database:
        yield SqliteSessions(
            database, now=clock, per_session=4, per_agent=6, keep_seconds=KEPT_SECONDS
        )


@asynccontextmanager
async def in_a_list(directory: Path, clock: Clock) -> AsyncGenerator[Store]:
    del directory
    yield ListSessions(now=clock, per_session=4, per_agent=6, keep_seconds=KEPT_SECONDS)


@pytest.fixture(params=[in_sqlite, in_a_list], ids=["sqlite", "list"])
def opener(request: pytest.FixtureRequest) -> Opener:
    return cast("Opener", request.param)


def exchange(number: int, session: str = "s", agent: str = "ada", at: float = NOW) -> Exchange:
    return Exchange(
        agent=agent,
        session=session,
        request=f"r{number}",
        asked=f"asked {number}",
        answered=f"answered {number}",
        at=at,
    )


def requests(exchanges: tuple[Exchange, ...]) -> list[str]:
    return [each.request for each in exchanges]


async def test_the_last_exchanges_come_back_oldest_first(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path, Clock()) as store:
        for number in range(6):
            await store.keep(exchange(number), extract=False)
        last = await store.last("ada", "s", 2)
        assert requests(last) == ["r4", "r5"]
        assert (last[1].asked, last[1].answered, last[1].at) == ("asked 5", "answered 5", NOW)
        assert requests(await store.last("ada", "s", 99)) == ["r2", "r3", "r4", "r5"]


async def test_sessions_and_agents_are_apart(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path, Clock()) as store:
        await store.keep(exchange(1), extract=False)
        await store.keep(exchange(2, session="other"), extract=False)
        await store.keep(exchange(3, agent="ben"), extract=True)
        assert requests(await store.last("ada", "s", 9)) == ["r1"]
        assert requests(await store.last("ben", "s", 9)) == ["r3"]
        assert await store.last("ben", "other", 9) == ()
        assert (await store.waiting("ada"), await store.waiting("ben")) == (0, 1)


async def test_an_agent_s_oldest_exchanges_make_room(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path, Clock()) as store:
        await store.keep(exchange(0, agent="ben"), extract=False)
        for number in range(8):
            await store.keep(exchange(number, session=f"s{number // 2}"), extract=False)
        assert await store.last("ada", "s0", 9) == ()
        assert requests(await store.last("ada", "s1", 9)) == ["r2", "r3"]
        assert requests(await store.last("ben", "s", 9)) == ["r0"]


async def test_exchanges_are_gone_after_their_time(opener: Opener, tmp_path: Path) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        await store.keep(exchange(1), extract=True)
        clock.now += KEPT_SECONDS
        await store.keep(exchange(2, at=clock.now), extract=True)
        assert requests(await store.last("ada", "s", 9)) == ["r2"]
        assert await store.waiting("ada") == 1
        assert requests(await store.take(least=1, idle_seconds=60)) == ["r2"]


async def test_a_session_is_forgotten_with_what_waits_of_it(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path, Clock()) as store:
        for number in range(3):
            await store.keep(exchange(number, at=NOW + number), extract=True)
        await store.keep(exchange(3, session="other"), extract=True)
        await store.keep(exchange(4, agent="ben"), extract=True)
        assert await store.forget("ada", "none") == 0
        assert await store.forget("ada", "s", until=NOW + 1) == 1
        assert requests(await store.last("ada", "s", 9)) == ["r1", "r2"]
        assert await store.forget("ada", "s") == 2
        assert await store.last("ada", "s", 9) == ()
        assert (await store.waiting("ada"), await store.waiting("ben")) == (1, 1)


async def test_it_is_known_whether_what_was_taken_was_forgotten_meanwhile(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path, Clock()) as store:
        for number in range(2):
            await store.keep(exchange(number, at=NOW + number), extract=True)
        taken = await store.take(least=1, idle_seconds=60)
        assert await store.holds(taken)
        await store.forget("ada", "s", until=NOW + 1)
        assert not await store.holds(taken)
        assert await store.holds(taken[1:])


async def test_a_session_is_taken_when_enough_waits_or_nothing_comes_any_more(
    opener: Opener, tmp_path: Path
) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        await store.keep(exchange(1), extract=True)
        await store.keep(exchange(2, session="other"), extract=True)
        assert await store.take(least=2, idle_seconds=60) == ()
        await store.keep(exchange(3), extract=True)
        await store.keep(exchange(4), extract=False)
        taken = await store.take(least=2, idle_seconds=60)
        assert requests(taken) == ["r1", "r3"]
        assert await store.take(least=2, idle_seconds=60) == ()
        clock.now += 60
        assert requests(await store.take(least=2, idle_seconds=60)) == ["r2"]
        await store.settle(taken)
        assert await store.waiting("ada") == 1


async def test_what_was_taken_and_not_settled_is_taken_again_three_times_in_all(
    opener: Opener, tmp_path: Path
) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        await store.keep(exchange(1), extract=True)
        for _ in range(3):
            assert requests(await store.take(least=1, idle_seconds=60)) == ["r1"]
            assert await store.take(least=1, idle_seconds=60) == ()
            clock.now += 600
        assert await store.take(least=1, idle_seconds=60) == ()
        assert await store.waiting("ada") == 0


async def test_what_is_put_back_does_not_count_as_taken(opener: Opener, tmp_path: Path) -> None:
    clock = Clock()
    async with opener(tmp_path, clock) as store:
        await store.keep(exchange(1), extract=True)
        for _ in range(9):
            taken = await store.take(least=1, idle_seconds=60)
            assert requests(taken) == ["r1"]
            await store.put_back(taken, after_seconds=5)
            assert await store.take(least=1, idle_seconds=60) == ()
            clock.now += 5
        assert await store.waiting("ada") == 1
