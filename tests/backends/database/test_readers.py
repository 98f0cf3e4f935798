"""What readings at one time mean to each other, and to those who wait for them."""

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import apsw
import pytest

from backends.database import Component, open_database
from backends.database.readers import Readers
from backends.errors import StoreError

NOTES = Component("notes", ("CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL)",))

MOST = 2


@asynccontextmanager
async def opened(directory: Path) -> AsyncGenerator[Readers]:
    async with open_database(directory / "x.db", [NOTES]) as database:
        readers = Readers(database.path, MOST)
        try:
            yield readers
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(readers.end)


def count(connection: apsw.Connection) -> int:
    return len(connection.execute("SELECT * FROM note").fetchall())


async def test_so_many_read_at_once_and_the_others_after_them(tmp_path: Path) -> None:
    together = threading.Barrier(MOST)
    seen: list[int] = []

    def work(connection: apsw.Connection) -> int:
        together.wait(60)  # broken, and so failing, unless so many are at it
        return count(connection)

    async def read(readers: Readers) -> None:
        seen.append(await readers.run(work))

    async with opened(tmp_path) as readers, anyio.create_task_group() as tg:
        for _ in range(5 * MOST):
            tg.start_soon(read, readers)
    assert seen == [0] * (5 * MOST)


async def test_one_after_the_other_share_a_thread_and_its_connection(tmp_path: Path) -> None:
    async with opened(tmp_path) as readers:
        seen = {await readers.run(id) for _ in range(10)}
    assert len(seen) == 1


async def test_a_failure_reaches_its_caller_and_nobody_else(tmp_path: Path) -> None:
    def fail(connection: apsw.Connection) -> None:
        connection.execute("SELECT * FROM note")
        raise ZeroDivisionError

    async with opened(tmp_path) as readers:
        with pytest.raises(ZeroDivisionError):
            await readers.run(fail)
        with pytest.raises(StoreError):
            await readers.run(lambda connection: connection.execute("SELECT * FROM nothing"))
        assert await readers.run(count) == 0


async def test_a_cancelled_caller_waits_for_what_is_under_way_and_no_more(tmp_path: Path) -> None:
    started, go = threading.Event(), threading.Event()
    done: list[str] = []

    def work(connection: apsw.Connection) -> None:
        started.set()
        assert go.wait(60)
        done.append("under way")

    async def read(readers: Readers, scope: anyio.CancelScope) -> None:
        with scope:
            await readers.run(work)
            done.append("not reached")

    async with open_database(tmp_path / "x.db", [NOTES]) as database:
        readers = Readers(database.path, 1)
        scopes = [anyio.CancelScope(), anyio.CancelScope()]
        async with anyio.create_task_group() as tg:
            for scope in scopes:
                tg.start_soon(read, readers, scope)
            assert await anyio.to_thread.run_sync(started.wait, 60)
            for scope in scopes:
                scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert done == []
            go.set()
        assert all(scope.cancelled_caught for scope in scopes)
        assert done == ["under way"]
        await anyio.to_thread.run_sync(readers.end)


async def test_the_threads_end_with_their_block(tmp_path: Path) -> None:
    before = set(threading.enumerate())

    def readers() -> list[str]:
        left = set(threading.enumerate()) - before
        return [each.name for each in left if "reader" in each.name]

    async with open_database(tmp_path / "x.db", [NOTES]) as database:
        assert await database.read(count) == 0
        assert len(readers()) == 1
    assert readers() == []
