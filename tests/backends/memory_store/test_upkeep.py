"""What happens to memories while nobody waits for it."""

from collections.abc import Sequence
from pathlib import Path

import anyio

from backends.errors import BackendUnavailableError
from backends.memory_store import keep_in_order
from backends.messages import MemoryDraft
from backends.protocols import Vectors
from tests.backends.memory_store.embedders import BrokenEmbedder, WordEmbedder
from tests.backends.memory_store.stores import NOW, found, open_store, place
from tests.marks import asyncio_only


class RecoveringEmbedder(WordEmbedder):
    """Fails once, then works."""

    def __init__(self) -> None:
        super().__init__("recovering")
        self.calls = 0
        self.worked = anyio.Event()

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        self.calls += 1
        if self.calls == 1:
            raise BackendUnavailableError("not yet")
        vectors = await super().embed(texts)
        self.worked.set()
        return vectors


@asyncio_only
async def test_missing_vectors_are_made_and_expired_memories_leave_by_themselves(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path, BrokenEmbedder()) as opened:
        await opened.store.add(MemoryDraft(content="apples are red"), place())
        await opened.store.add(MemoryDraft(content="pears, for a while", expires=NOW + 1), place())
    embedder = RecoveringEmbedder()
    async with open_store(tmp_path, embedder) as opened:
        opened.clock.now = NOW + 2
        with anyio.fail_after(30):
            async with keep_in_order(opened.store, every_seconds=0.01):
                await embedder.worked.wait()
                # Writes are in order: what was written before this one is there.
                await opened.database.write(lambda _: None)
        assert await found(opened.store, "apples", mode="vector") == ["apples are red"]
        assert (await opened.store.count("ada")).rows == 1
        assert await opened.problems() == []
