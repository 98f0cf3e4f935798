"""The end of a call need only be in line for the disk when its answer goes out; what that costs."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from backends.database import Database, open_database
from backends.errors import OverdrawnError, StoreFullError
from backends.journal import JOURNAL, SqliteJournal
from backends.messages import Balance
from tests.backends.database.lines import fill, occupied
from tests.backends.journal.processes import run_until_killed
from tests.contracts.test_journal import NOW, balance, closed, hold, opened
from tests.marks import asyncio_only

DIES_WHEN_A_CALL_HAS_ENDED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import anyio
from backends.database import open_database
from backends.journal import JOURNAL, SqliteJournal
from tests.backends.database.lines import occupied
from tests.contracts.test_journal import closed, hold, opened

async def main():
    async with open_database(Path(sys.argv[1]), [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: 0.0)
        await journal.recover()
        await journal.open_call(opened(1), [hold(30)], "key")
        await journal.open_call(opened(2), [hold(60)], None)
        await journal.close_call(replace(closed(1, used=3), answer="answer"))
        async with occupied(database):
            await journal.close_call(closed(2, used=7))
            os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""


async def journal_in(database: Database) -> SqliteJournal:
    journal = SqliteJournal(database, now=lambda: NOW)
    await journal.recover()
    return journal


async def let_grow(database: Database, pages: int) -> None:
    """Let the file have so many pages, or as many as it has."""
    await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchall())


async def test_a_call_that_ends_does_not_wait_for_the_disk_and_who_reads_does(
    tmp_path: Path,
) -> None:
    found: list[object] = []

    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = await journal_in(database)
        await journal.open_call(opened(), [hold(60)], None)

        async def read_balance() -> None:
            found.append(await balance(journal))

        async def read_records() -> None:
            found.append([record.outcome for record in await journal.records()])

        async with anyio.create_task_group() as tg, occupied(database):
            await journal.close_call(closed(used=7))
            tg.start_soon(read_balance)
            tg.start_soon(read_records)
            await anyio.wait_all_tasks_blocked()
            assert found == []
        assert sorted(found, key=repr) == [Balance(spent=7, held=0), ["ok"]]


async def test_a_call_with_an_idempotency_key_waits_until_its_answer_is_on_disk(
    tmp_path: Path,
) -> None:
    ended: list[str] = []

    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = await journal_in(database)
        await journal.open_call(opened(), [hold(60)], "key")

        async def close() -> None:
            await journal.close_call(replace(closed(), answer="answer"))
            ended.append("ended")

        async with anyio.create_task_group() as tg, occupied(database):
            tg.start_soon(close)
            await anyio.wait_all_tasks_blocked()
            assert ended == []
        assert await journal.open_call(opened(2), [], "key") == "answer"


async def test_an_orderly_stop_loses_no_end(tmp_path: Path) -> None:
    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = await journal_in(database)
        for number in range(50):
            await journal.open_call(opened(number), [hold(10, None)], None)
        async with occupied(database):
            for number in range(50):
                await journal.close_call(closed(number, used=2))
    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = await journal_in(database)
        assert await balance(journal) == Balance(spent=100, held=0)
        assert {record.outcome for record in await journal.records()} == {"ok"}
        assert await journal.verify() is None


@asyncio_only  # a virtual clock jumps past the deadline while another process works
async def test_an_end_that_was_lost_with_its_process_counts_in_full_and_a_promised_answer_stands(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    await run_until_killed(DIES_WHEN_A_CALL_HAS_ENDED, path)
    async with open_database(path, [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: NOW)
        assert await journal.recover() == 1
        assert await balance(journal) == Balance(spent=3 + 60, held=0)
        assert [record.outcome for record in await journal.records()] == ["unknown", "ok"]
        assert await journal.open_call(opened(3), [hold(60)], "key") == "answer"
        assert await journal.verify() is None


async def test_what_is_not_on_disk_yet_cannot_be_spent_twice(tmp_path: Path) -> None:
    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = await journal_in(database)
        for number in range(3):
            await journal.open_call(opened(number), [hold(30)], None)
        refused: list[OverdrawnError] = []

        async def ask(number: int, amount: int) -> None:
            try:
                await journal.open_call(opened(number), [hold(amount)], None)
            except OverdrawnError as exc:
                refused.append(exc)

        async with anyio.create_task_group() as tg, occupied(database):
            tg.start_soon(ask, 3, 11)
            await anyio.wait_all_tasks_blocked()
            for number in range(3):
                await journal.close_call(closed(number, used=20))
            for number, amount in ((4, 41), (5, 40)):
                tg.start_soon(ask, number, amount)
                await anyio.wait_all_tasks_blocked()
        assert sorted((each.wanted, each.left) for each in refused) == [(11, 10), (41, 40)]
        assert await balance(journal) == Balance(spent=60, held=40)


@pytest.mark.parametrize("once", [None, "key"])
async def test_what_a_full_disk_kept_from_being_settled_is_settled_with_the_next_call(
    tmp_path: Path, once: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = await journal_in(database)
        await journal.open_call(opened(1), [hold(30)], once)
        await journal.open_call(opened(2), [hold(30)], None)
        await let_grow(database, 1)
        for number in (1, 2):
            await journal.close_call(replace(closed(number, used=number), place="p" * 100_000))
        long = replace(opened(3), target="t" * 100_000)
        with pytest.raises(StoreFullError):
            await journal.open_call(long, [hold(10)], None)
        assert await balance(journal) == Balance(spent=0, held=60)
        assert "calls not settled" in caplog.text
        assert (journal.unsettled("ada"), journal.unsettled("ben")) == (2, 0)
        await let_grow(database, 9999)
        await journal.open_call(long, [hold(10)], None)
        assert await balance(journal) == Balance(spent=1 + 2, held=10)
        assert journal.unsettled("ada") == 0
        assert {r.request_id: r.outcome for r in await journal.records()} == {
            "r1": "ok",
            "r2": "ok",
            "r3": "",
        }
        assert await journal.verify() is None


async def test_an_end_that_finds_no_room_in_line_goes_with_the_next_call_or_the_stop(
    tmp_path: Path,
) -> None:
    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = await journal_in(database)
        await journal.open_call(opened(1), [hold(30)], None)
        async with occupied(database):
            fill(database)
            await journal.close_call(closed(1, used=7))
        assert await balance(journal) == Balance(spent=0, held=30)
        await journal.open_call(opened(2), [hold(5)], None)
        assert await balance(journal) == Balance(spent=7, held=5)
        async with occupied(database):
            fill(database)
            await journal.close_call(closed(2, used=4))
        await journal.settle()  # as an orderly stop does
    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        assert await balance(await journal_in(database)) == Balance(spent=7 + 4, held=0)


async def test_an_end_that_can_never_be_written_keeps_nobody_else_from_ending(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = await journal_in(database)
        for number in range(3):
            await journal.open_call(opened(number), [hold(10)], None)
        async with occupied(database):
            await journal.close_call(closed(0, used=1))
            await journal.close_call(closed(1, used=2**70))
            await journal.close_call(closed(2, used=3))
        assert await balance(journal) == Balance(spent=1 + 3, held=10)
        assert "calls not settled" in caplog.text
