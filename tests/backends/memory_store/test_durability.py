"""What was acknowledged is there after the process was killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from backends.messages import MemoryQuery
from tests.backends.memory_store.stores import found, open_store, own
from tests.marks import asyncio_only

ACKNOWLEDGED = 60

_CHILD = """
import itertools, sys
from pathlib import Path
import anyio
from backends.messages import MemoryDraft
from tests.backends.memory_store.stores import open_store, place

async def main():
    numbers = itertools.count(1)
    async with open_store(Path(sys.argv[1])) as opened, anyio.create_task_group() as tg:
        async def work():
            for number in numbers:
                added = await opened.store.add(MemoryDraft(content=f"apples {number}"), place())
                print(added.id, number, flush=True)
        for _ in range(8):
            tg.start_soon(work)

anyio.run(main)
"""


@asyncio_only
@pytest.mark.parametrize("round_", range(2))
async def test_every_acknowledged_memory_outlives_a_kill(tmp_path: Path, round_: int) -> None:
    del round_
    with subprocess.Popen(  # noqa: ASYNC220 - the test has nothing else to do meanwhile
        [sys.executable, "-c", _CHILD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline().split() for _ in range(ACKNOWLEDGED)]
        child.kill()
        rest, _ = child.communicate(timeout=30)
    lines += [line.split() for line in rest.splitlines() if line.count(" ") == 1]
    acknowledged = {memory: f"apples {number}" for memory, number in lines}
    assert len(acknowledged) >= ACKNOWLEDGED
    async with open_store(tmp_path) as opened:
        for memory, content in acknowledged.items():
            [hit] = await opened.store.search(MemoryQuery(id=memory), own())
            assert hit.content == content
        everything = set(await found(opened.store, "apples", k=1000))
        assert everything >= set(acknowledged.values())
        assert set(await found(opened.store, "apples", k=1000, mode="vector")) == everything
        assert await opened.problems() == []
