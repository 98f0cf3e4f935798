"""What writes that share a commit mean to each other, and to those who wait for them."""

import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import apsw
import pytest

from backends.database import Component, Database, open_database
from backends.errors import StoreBusyError, StoreError
from tests.backends.database.lines import occupied

NOTES = Component("notes", ("CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL)",))


def insert(text: str | None) -> Callable[[apsw.Connection], int]:
    def work(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO note(text) VALUES(?)", (text,))
        return connection.last_insert_rowid()

    return work


def insert_all(connection: apsw.Connection, texts: Sequence[str]) -> list[str | Exception]:
    """Write all but `refused`, and give for each those it was written with; fail over `bad`."""
    for text in texts:
        if text != "refused":
            insert(text)(connection)
    if "bad" in texts:
        raise ZeroDivisionError
    return [KeyError(text) if text == "refused" else " ".join(texts) for text in texts]


def texts(connection: apsw.Connection) -> list[str]:
    return [str(row[0]) for row in connection.execute("SELECT text FROM note ORDER BY id")]


@asynccontextmanager
async def opened(directory: Path) -> AsyncGenerator[Database]:
    async with open_database(directory / "x.db", [NOTES]) as database:
        yield database


async def test_writes_that_arrive_during_a_commit_share_the_next_one(tmp_path: Path) -> None:
    commits: list[str] = []

    def note_commit() -> bool:
        commits.append("one")
        return False

    def count_commits(connection: apsw.Connection) -> None:
        connection.set_commit_hook(note_commit)

    async with opened(tmp_path) as database, anyio.create_task_group() as tg:
        async with occupied(database):
            tg.start_soon(database.write, count_commits)
            for number in range(100):
                tg.start_soon(database.write, insert(f"{number:02}"))
            await anyio.wait_all_tasks_blocked()
        tg.start_soon(database.write, insert("100"))
    async with opened(tmp_path) as database:
        assert sorted(await database.read(texts)) == sorted(f"{number:02}" for number in range(101))
    assert 1 <= len(commits) <= 2


async def test_one_task_s_writes_are_in_the_order_it_made_them(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:

        async def write_ten(name: str) -> None:
            for number in range(10):
                await database.write(insert(f"{name}{number}"))

        async with anyio.create_task_group() as tg:
            for name in "abcdefgh":
                tg.start_soon(write_ten, name)
        written = await database.read(texts)
    for name in "abcdefgh":
        mine = [text for text in written if text.startswith(name)]
        assert mine == [f"{name}{number}" for number in range(10)]


@pytest.mark.parametrize("size", [2, 3, 31, 300])
async def test_each_failure_of_a_group_undoes_itself_alone(tmp_path: Path, size: int) -> None:
    failures: list[str] = []
    async with opened(tmp_path) as database:

        async def write(number: int) -> None:
            is_bad = number % 7 == 1
            try:
                await database.write(insert(None if is_bad else str(number)))
            except StoreError:
                failures.append(str(number))

        async with anyio.create_task_group() as tg, occupied(database):
            for number in range(size):
                tg.start_soon(write, number)
            await anyio.wait_all_tasks_blocked()
        assert {*await database.read(texts), *failures} == {str(number) for number in range(size)}
    assert len(failures) == len(range(1, size, 7))


async def test_a_batch_gets_the_items_of_all_at_once_and_answers_each(tmp_path: Path) -> None:
    outcomes: dict[str, object] = {}
    async with opened(tmp_path) as database:

        async def write(text: str) -> None:
            try:
                outcomes[text] = await database.write_with_others(insert_all, text)
            except (KeyError, ZeroDivisionError) as exc:
                outcomes[text] = type(exc)

        async with anyio.create_task_group() as tg, occupied(database):
            for text in ("a", "refused", "b"):
                tg.start_soon(write, text)
            await anyio.wait_all_tasks_blocked()
        together = str(outcomes["a"])
        assert sorted(together.split()) == ["a", "b", "refused"]
        assert outcomes == {"a": together, "b": together, "refused": KeyError}
        async with anyio.create_task_group() as tg, occupied(database):
            for text in ("c", "bad", "d"):
                tg.start_soon(write, text)
            await anyio.wait_all_tasks_blocked()
        assert outcomes["bad"] is ZeroDivisionError
        assert sorted(await database.read(texts)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("is_under_way", [False, True])
async def test_a_cancelled_caller_learns_what_became_of_its_write(
    tmp_path: Path, is_under_way: bool
) -> None:
    learned: list[int] = []
    started, go = threading.Event(), threading.Event()

    def work(connection: apsw.Connection) -> int:
        started.set()
        assert go.wait(60)
        return insert("a")(connection)

    scope = anyio.CancelScope()

    async def write(database: Database) -> None:
        with scope:
            learned.append(await database.write(work))
            await anyio.lowlevel.checkpoint()
            learned.append(0)

    async with opened(tmp_path) as database:
        async with anyio.create_task_group() as tg:
            if not is_under_way:
                scope.cancel()
            tg.start_soon(write, database)
            assert await anyio.to_thread.run_sync(started.wait, 60)
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert learned == []
            go.set()
        assert learned == [1]
        assert scope.cancelled_caught
        assert await database.read(texts) == ["a"]


async def test_a_write_that_waited_too_long_is_refused_and_not_done(tmp_path: Path) -> None:
    async with open_database(tmp_path / "x.db", [NOTES], patience=0.05) as database:

        async def write() -> None:
            with pytest.raises(StoreBusyError, match="keep up; try again"):
                await database.write(insert("late"))

        async with anyio.create_task_group() as tg, occupied(database, seconds=0.1):
            tg.start_soon(write)
            await anyio.wait_all_tasks_blocked()
        await database.write(insert("in time"))
        assert await database.read(texts) == ["in time"]


async def test_a_full_line_is_said_to_be_busy_at_once(tmp_path: Path) -> None:
    done: list[bool] = []
    async with opened(tmp_path) as database:

        async def write() -> None:
            await database.write(lambda _: None)
            done.append(True)

        async with anyio.create_task_group() as tg, occupied(database):
            for _ in range(10_240):
                tg.start_soon(write)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(StoreBusyError, match="too many writes"):
                await database.write(insert("one too many"))
        assert len(done) == 10_240
        assert await database.read(texts) == []


async def test_what_is_in_line_at_the_end_is_done_and_nothing_after_it(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tg:
        async with opened(tmp_path) as database, occupied(database):
            for number in range(600):  # more than one group
                tg.start_soon(database.write, insert(str(number)))
            await anyio.wait_all_tasks_blocked()
        with pytest.raises(StoreError, match="closing"):
            await database.write(insert("after the end"))
    async with opened(tmp_path) as database:
        assert len(await database.read(texts)) == 600


async def test_a_file_that_another_program_has_locked_is_busy(tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "x.db"))
    async with opened(tmp_path) as database:
        await database.write(lambda connection: connection.set_busy_timeout(50))
        other.execute("BEGIN IMMEDIATE")

        async def write() -> None:
            with pytest.raises(StoreBusyError, match="locked by another program"):
                await database.write(insert("a"))

        async with anyio.create_task_group() as tg:
            tg.start_soon(write)
            tg.start_soon(write)
        other.execute("ROLLBACK")
        assert await database.write(insert("b")) == 1
    other.close()


async def test_the_thread_ends_with_its_block(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with opened(tmp_path) as database:
        await database.write(insert("a"))
        assert [each.name for each in set(threading.enumerate()) - before if "writer" in each.name]
    left = set(threading.enumerate()) - before
    assert not [each.name for each in left if "writer" in each.name]
