"""How many memories are durably added a second, beside what the disk and a core allow."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile

import anyio
import anyio.to_thread

from backends.messages import Place
from benchmarks.figures import Figure
from benchmarks.memory_workload import TopicEmbedder, draft, opened, texts

AGENTS = 32

_VECTORS = 10_000
_SYNCS = 100
_SYNCED_BYTES = 64 << 10
_SYNC: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


async def adding(count: int) -> list[Figure]:
    """Add from many agents at once, each of which waits until its memory is on disk."""
    async with opened(TopicEmbedder(_VECTORS)) as (store, database):
        queue = iter(enumerate(texts(count)))

        async def work(agent: str) -> None:
            for number, text in queue:
                await store.add(draft(number, text), Place(agent, "self"))

        before = await anyio.to_thread.run_sync(_sync_seconds, database.path.parent)
        start, used = time.perf_counter(), time.process_time()
        async with anyio.create_task_group() as tg:
            for number in range(AGENTS):
                tg.start_soon(work, f"agent-{number}")
        seconds, used = time.perf_counter() - start, time.process_time() - used
        after = await anyio.to_thread.run_sync(_sync_seconds, database.path.parent)
    sync = min(before, after)
    # All agents wait for the same sync, and none of them prepares its next memory meanwhile.
    allowed = AGENTS / (sync + AGENTS * used / count)
    return [
        Figure(
            name=f"durable adds from {AGENTS} agents at once, vectors given",
            value=count / seconds,
            unit="1/s",
            bar=5_000.0,
            better="higher",
            peer=f"one sync of this disk: {sync * 1000:.2f} ms, so at most {AGENTS / sync:,.0f};"
            f" beside the CPU time of one core: {allowed:,.0f}",
        ),
        Figure(name="CPU time of a durable add", value=used / count * 1e6, unit="us"),
    ]


def _sync_seconds(directory: Path) -> float:
    """Give the median time in which the disk takes some bytes of a file that does not grow."""
    times: list[float] = []
    content = os.urandom(_SYNCED_BYTES)
    with TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(_SYNCS):
            file.seek(0)
            file.write(content)
            start = time.perf_counter()
            _SYNC(file.fileno())
            times.append(time.perf_counter() - start)
    return median(times)
