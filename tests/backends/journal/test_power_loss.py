"""Whenever the power fails, all that began is on record, and no budget is overspent.

What was promised to whoever asks again with the same idempotency key is there too. The end of any
other call may be lost with the last moment: it counts in full then.
"""

import random
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from backends.database import open_database
from backends.journal import JOURNAL, SqliteJournal
from tests.backends.database.disks import Disk, Survivors, checkpoint_often, remembering
from tests.contracts.test_journal import NOW, closed, hold, opened
from tests.marks import asyncio_only

CALLS = 24
HELD, USED = 10, 3
AS_IF_OF_ANOTHER_BOOT = "UPDATE kernel SET started = 'another boot/1'"


def key(number: int) -> str | None:
    return f"key{number}" if number % 3 == 0 else None


async def work(directory: Path) -> Disk:
    """Make calls, some at once; note each as soon as it is acknowledged."""
    with remembering() as disk:
        async with open_database(directory / "journal.db", [JOURNAL]) as database:
            journal = SqliteJournal(database, now=lambda: NOW)
            await journal.recover()
            await database.write(checkpoint_often)
            disk.note("ready")

            async def call(number: int) -> None:
                await journal.open_call(opened(number), [hold(HELD, 10_000)], key(number))
                disk.note(f"r{number} open")
                await journal.close_call(replace(closed(number, used=USED), answer=f"a{number}"))
                disk.note(f"r{number} close")

            for first in range(0, CALLS, 4):
                async with anyio.create_task_group() as tg:
                    for number in range(first, first + 4):
                        tg.start_soon(call, number)
            await journal.records()  # waits until the last of them are on disk
            disk.note("end")
    return disk


@asyncio_only
@pytest.mark.parametrize("survivors", ["none", "all", "some"])
async def test_at_every_write_to_the_disk(tmp_path: Path, survivors: Survivors) -> None:
    (tmp_path / "before").mkdir()
    disk = await work(tmp_path / "before")
    notes = [index for index, step in enumerate(disk.steps) if step.what == "note"]
    synced = [step.name for step in disk.steps[notes[0] : notes[-1]] if step.what == "sync"]
    assert {*synced} == {"journal.db", "journal.db-wal"}, "checkpoints too must be tried"
    rng = random.Random(1)
    for end in disk.after_each_write():
        after = tmp_path / f"after{end}"
        after.mkdir()
        disk.lose_power(end, after, survivors, rng)
        await check(after / "journal.db", disk.noted_before(end))


async def check(path: Path, acknowledged: set[str]) -> None:
    async with open_database(path, [JOURNAL]) as database:
        assert await database.check() == []
        journal = SqliteJournal(database, now=lambda: NOW)
        before = {record.request_id: record.outcome for record in await journal.records(limit=999)}
        assert {note.split()[0] for note in acknowledged if note.endswith("open")} <= {*before}
        ended = sum(outcome == "ok" for outcome in before.values())
        left = len(before) - ended
        found = await journal.balance("ada", "2026-11-24", "tokens")
        assert (found.spent, found.held) == (USED * ended, HELD * left)

        await database.write(lambda connection: connection.execute(AS_IF_OF_ANOTHER_BOOT))
        assert await journal.recover() == left
        found = await journal.balance("ada", "2026-11-24", "tokens")
        assert (found.spent, found.held) == (USED * ended + HELD * left, 0)
        for number in range(CALLS):
            if f"r{number} close" in acknowledged and key(number) is not None:
                assert before[f"r{number}"] == "ok"
                again = await journal.open_call(opened(100 + number), [], key(number))
                assert again == f"a{number}"
        assert await journal.verify() is None
