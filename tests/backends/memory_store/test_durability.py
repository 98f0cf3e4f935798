"""What was acknowledged is there after the process was killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from backends.messages import MemoryQuery
from tests.backends.memory_store.stores import found, open_store, own
from tests.marks import asyncio_only

ACKNOWLEDGED = 400
ROUNDS = (0, 1, *(pytest.param(number, marks=pytest.mark.slow) for number in range(2, 50)))

_CHILD = """
import itertools, sys
from pathlib import Path
import anyio
from backends.messages import MemoryDraft, Selection
from tests.backends.memory_store.stores import open_store, own, place

async def main():
    numbers = itertools.count(1)
    async with open_store(Path(sys.argv[1])) as opened, anyio.create_task_group() as tg:
        async def work():
            for number in numbers:
                added = await opened.store.add(MemoryDraft(content=f"apples {number}"), place())
                print(added.id, number, flush=True)
        async def forget():
            while True:
                old = await opened.store.add(MemoryDraft(content="passing"), place())
                await opened.store.forget(Selection(ids=(old.id,)), own(), "")
        for _ in range(8):
            tg.start_soon(work)
        tg.start_soon(forget)

anyio.run(main)
"""


@asyncio_only
@pytest.mark.parametrize("round_", ROUNDS)
async def test_every_acknowledged_memory_outlives_a_kill(tmp_path: Path, round_: int) -> None:
    del round_
    with subprocess.Popen(  # noqa: ASYNC220 - the test has nothing else to do meanwhile
        [sys.executable, "-c", _CHILD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(ACKNOWLEDGED)]
        child.kill()
        # Not by `communicate`, which would pass over what has been read ahead.
        lines += child.stdout.readlines()
    pairs = [line.split() for line in lines if line.endswith("\n")]
    acknowledged = {memory: f"apples {number}" for memory, number in pairs}
    assert len(acknowledged) >= ACKNOWLEDGED
    async with open_store(tmp_path) as opened:
        for memory, content in acknowledged.items():
            [hit] = await opened.store.search(MemoryQuery(id=memory), own())
            assert hit.content == content
        # More than were acknowledged may have been written, and blocks packed on the way.
        everything = set(await found(opened.store, "apples", k=1000))
        assert everything >= set(acknowledged.values())
        by_meaning = set(await found(opened.store, "apples", k=1000, mode="vector"))
        assert by_meaning - {"passing"} == everything
        assert await opened.problems() == []
