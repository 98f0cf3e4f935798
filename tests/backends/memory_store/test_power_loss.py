"""Whenever the power fails, what was acknowledged is there, whole, and nothing is half there."""

import random
from pathlib import Path

import anyio
import pytest

from backends.messages import MemoryDraft, Selection
from tests.backends.database.disks import Disk, Survivors, checkpoint_often, remembering
from tests.backends.memory_store.stores import found, open_store, own, place
from tests.marks import asyncio_only

CALLS = 12
BEFORE = 250  # six short of a block, so that one is packed on the way


async def work(directory: Path) -> Disk:
    """Add, replace, forget and purge, some at once; note each as soon as it is acknowledged."""
    with remembering() as disk:
        async with open_store(directory) as opened:
            async with anyio.create_task_group() as tg:
                for number in range(BEFORE):
                    tg.start_soon(opened.store.add, MemoryDraft(content=f"old {number}"), place())
            await opened.database.write(checkpoint_often)
            disk.note("ready")

            async def call(number: int) -> None:
                added = await opened.store.add(MemoryDraft(content=f"apples {number}"), place())
                disk.note(f"added {number}")
                if number % 3 == 0:
                    await opened.store.forget(Selection(ids=(added.id,)), own(), "")
                    disk.note(f"forgot {number}")
                elif number % 3 == 1:
                    newer = MemoryDraft(content=f"apples {number} again", replaces=added.id)
                    await opened.store.add(newer, place())
                    disk.note(f"replaced {number}")

            for first in range(0, CALLS, 4):
                async with anyio.create_task_group() as tg:
                    for number in range(first, first + 4):
                        tg.start_soon(call, number)
            await opened.store.purge()
            disk.note("end")
    return disk


@asyncio_only
@pytest.mark.parametrize("survivors", ["none", "all", "some"])
async def test_at_every_write_to_the_disk(tmp_path: Path, survivors: Survivors) -> None:
    (tmp_path / "before").mkdir()
    disk = await work(tmp_path / "before")
    rng = random.Random(1)
    for end in disk.after_each_write():
        after = tmp_path / f"after{end}"
        after.mkdir()
        disk.lose_power(end, after, survivors, rng)
        await check(after, disk.noted_before(end))


async def check(directory: Path, noted: set[str]) -> None:
    async with open_store(directory) as opened:
        assert await opened.problems() == []
        by_words = set(await found(opened.store, "apples", k=100))
        by_meaning = set(await found(opened.store, "apples", k=1000, mode="vector"))
        assert by_words == {each for each in by_meaning if each.startswith("apples")}
        assert len(by_meaning) - len(by_words) == BEFORE
        for number in range(CALLS):
            if f"forgot {number}" in noted:
                assert f"apples {number}" not in by_words
            elif f"replaced {number}" in noted:
                assert f"apples {number} again" in by_words
                assert f"apples {number}" not in by_words
            elif f"added {number}" in noted and number % 3:
                assert {f"apples {number}", f"apples {number} again"} & by_words
