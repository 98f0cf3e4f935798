from collections.abc import Callable
from pathlib import Path

import anyio
import apsw
import pytest

from backends.database import Component, open_database
from backends.database import insert as insert_rows
from backends.errors import StoreError, StoreFullError, StoreReadOnlyError

NOTES = Component(
    "notes", ("CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT",)
)


def insert(text: str | None) -> Callable[[apsw.Connection], int]:
    def work(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO note(text) VALUES(?)", (text,))
        return connection.last_insert_rowid()

    return work


def texts(connection: apsw.Connection) -> list[str]:
    return [str(row[0]) for row in connection.execute("SELECT text FROM note ORDER BY id")]


async def test_what_was_written_is_there_for_readers_and_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.db"
    async with open_database(path, [NOTES]) as database:
        assert await database.write(insert("a")) == 1
        assert await database.read(texts) == ["a"]
        assert await database.check() == []
    async with open_database(path, [NOTES]) as database:
        assert await database.read(texts) == ["a"]


async def test_concurrent_writes_share_commits_and_a_failing_one_undoes_only_itself(
    tmp_path: Path,
) -> None:
    failures: list[StoreError] = []
    async with open_database(tmp_path / "x.db", [NOTES]) as database:

        async def write(number: int) -> None:
            try:
                await database.write(insert(None if number % 10 == 3 else str(number)))
            except StoreError as exc:
                failures.append(exc)

        async with anyio.create_task_group() as tg:
            for number in range(200):
                tg.start_soon(write, number)
        assert len(await database.read(texts)) == 180
    assert len(failures) == 20


async def test_an_error_of_the_caller_s_own_reaches_it_and_undoes_its_write(tmp_path: Path) -> None:
    def work(connection: apsw.Connection) -> None:
        insert("half")(connection)
        raise ZeroDivisionError

    async with open_database(tmp_path / "x.db", [NOTES]) as database:
        with pytest.raises(ZeroDivisionError):
            await database.write(work)
        assert await database.read(texts) == []


@pytest.mark.parametrize("count", [0, 1, 16_384, 40_000])
async def test_any_number_of_rows_is_inserted_at_once(tmp_path: Path, count: int) -> None:
    rows = [(number, str(number)) for number in range(count)]
    async with open_database(tmp_path / "x.db", [NOTES]) as database:
        await database.write(lambda connection: insert_rows(connection, "note(id, text)", rows))
        assert await database.read(texts) == [text for _, text in rows]


async def test_readers_cannot_write(tmp_path: Path) -> None:
    async with open_database(tmp_path / "x.db", [NOTES]) as database:
        with pytest.raises(StoreReadOnlyError):
            await database.read(insert("a"))


async def test_two_kernels_can_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with (
        open_database(path, [NOTES]) as first,
        open_database(path, [NOTES]) as second,
        anyio.create_task_group() as tg,
    ):
        for number in range(50):
            tg.start_soon(first.write, insert(f"first {number}"))
            tg.start_soon(second.write, insert(f"second {number}"))
    async with open_database(path, [NOTES]) as database:
        assert len(await database.read(texts)) == 100


async def test_a_full_disk_is_said_to_be_full_and_the_file_stays_usable(tmp_path: Path) -> None:
    def set_limit(pages: int) -> Callable[[apsw.Connection], object]:
        return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}")

    async with open_database(tmp_path / "x.db", [NOTES]) as database:
        await database.write(insert("before"))
        await database.write(set_limit(1))
        with pytest.raises(StoreFullError, match="disk is full"):
            await database.write(insert("x" * 100_000))
        await database.write(set_limit(100_000))
        await database.write(insert("after"))
        assert await database.read(texts) == ["before", "after"]


async def test_a_newer_file_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    newer = Component("notes", (*NOTES.migrations, "ALTER TABLE note ADD COLUMN extra TEXT"))
    async with open_database(path, [newer]):
        pass
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer aios-mcp"):
        async with open_database(path, [NOTES]):
            pass
    assert path.read_bytes() == before


async def test_an_older_file_is_brought_up_to_date_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with open_database(path, [NOTES]) as database:
        await database.write(insert("old"))
    newer = Component("notes", (*NOTES.migrations, "UPDATE note SET text = upper(text)"))
    async with open_database(path, [newer]) as database:
        assert await database.read(texts) == ["OLD"]


async def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("this is no database" * 1000)
    with pytest.raises(StoreError, match="damaged; restore it"):
        async with open_database(path, [NOTES]):
            pass


async def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreReadOnlyError, match=r"kernel\.data_dir"):
        async with open_database(tmp_path / "file" / "x.db", [NOTES]):
            pass


async def test_a_backup_taken_while_writing_opens_to_the_same_rows(tmp_path: Path) -> None:
    async with open_database(tmp_path / "x.db", [NOTES]) as database:
        await database.write(insert("a"))
        await database.backup(tmp_path / "copy.db")
        await database.write(insert("b"))
    async with open_database(tmp_path / "copy.db", [NOTES]) as copied:
        assert await copied.read(texts) == ["a"]


async def test_writes_that_wait_at_the_end_are_still_committed(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with anyio.create_task_group() as tg, open_database(path, [NOTES]) as database:
        for number in range(100):
            tg.start_soon(database.write, insert(str(number)))
        await anyio.wait_all_tasks_blocked()
    async with open_database(path, [NOTES]) as database:
        assert len(await database.read(texts)) == 100
