"""What becomes of memories when embedders fail, hang or change."""

from pathlib import Path

import pytest

from backends.errors import BackendTimeoutError, BackendUnavailableError, StoreFullError
from backends.memory_store.entries import LOOSE_ROWS
from backends.memory_store.store import MAX_CONTENT_BYTES
from backends.messages import MemoryDraft, MemoryQuery
from backends.protocols import Embedder
from tests.backends.memory_store.embedders import BrokenEmbedder, HangingEmbedder, WordEmbedder
from tests.backends.memory_store.stores import found, open_store, own, place
from tests.marks import virtual_time

FAILING = [(BrokenEmbedder, BackendUnavailableError), (HangingEmbedder, BackendTimeoutError)]


@virtual_time
@pytest.mark.parametrize(("failing", "error"), FAILING)
async def test_a_failing_embedder_loses_and_blocks_nothing(
    tmp_path: Path, failing: type[Embedder], error: type[Exception]
) -> None:
    async with open_store(tmp_path, failing()) as opened:
        await opened.store.add(MemoryDraft(content="apples are red"), place())
        for mode in ("keyword", "hybrid"):
            assert await found(opened.store, "apples", mode=mode) == ["apples are red"]
        with pytest.raises(error):
            await found(opened.store, "apples", mode="vector")
        with pytest.raises(error):
            await opened.store.reembed()
        assert await opened.problems() == []
    async with open_store(tmp_path, WordEmbedder()) as opened:
        assert await found(opened.store, "apples", mode="vector") == []
        assert await opened.store.reembed() == 1
        assert await found(opened.store, "apples", mode="vector") == ["apples are red"]


async def test_vectors_of_another_embedder_are_not_compared(tmp_path: Path) -> None:
    async with open_store(tmp_path, WordEmbedder("old")) as opened:
        for number in range(5):
            await opened.store.add(MemoryDraft(content=f"apples {number}"), place())
    async with open_store(tmp_path, WordEmbedder("new"), new_id=lambda: "n1") as opened:
        await opened.store.add(MemoryDraft(content="apples 5"), place())
        assert await found(opened.store, "apples", mode="vector") == ["apples 5"]
        assert len(await found(opened.store, "apples", mode="hybrid")) == 6
        assert await opened.store.reembed(batch=2) == 5
        assert await opened.store.reembed() == 0
        assert len(await found(opened.store, "apples", mode="vector")) == 6
        assert await opened.problems() == []


class RenamedEmbedder(WordEmbedder):
    """Gives the same vectors, but who knows."""

    @property
    def name(self) -> str:
        return "renamed"


@pytest.mark.parametrize("count", [5, LOOSE_ROWS])
async def test_what_words_find_is_not_compared_to_another_embedder_s_vectors(
    tmp_path: Path, count: int
) -> None:
    async with open_store(tmp_path) as opened:
        for number in range(count):
            await opened.store.add(MemoryDraft(content=f"apples {number}"), place())
    async with open_store(tmp_path, RenamedEmbedder(), new_id=lambda: "new") as opened:
        await opened.store.add(MemoryDraft(content="apples are red"), place())
        hits = await opened.store.search(MemoryQuery(text="apples", explain=True), own())
        assert len(hits) > 1
        for hit in hits:
            assert hit.why is not None
            assert (hit.why["meaning"] > 0) is (hit.id == "new")


async def test_a_text_with_nothing_to_embed_is_not_embedded_again(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        await opened.store.add(MemoryDraft(content="!!!"), place())
        assert await found(opened.store, "apples", mode="vector") == []
        assert await opened.store.reembed() == 0


async def test_a_memory_has_a_largest_size(tmp_path: Path) -> None:
    async with open_store(tmp_path) as opened:
        with pytest.raises(StoreFullError, match="split"):
            await opened.store.add(MemoryDraft(content="x" * (MAX_CONTENT_BYTES + 1)), place())
        assert (await opened.store.count("ada")).rows == 0
        assert await opened.store.search(MemoryQuery(text="x"), own()) == ()
