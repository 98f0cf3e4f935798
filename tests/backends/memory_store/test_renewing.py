"""Memories that are added again keep their vectors, wherever these stand."""

from pathlib import Path

import pytest

from backends.memory_store.entries import LOOSE_ROWS
from backends.messages import Hit, MemoryDraft, MemoryQuery
from backends.protocols import Embedder
from tests.backends.memory_store.embedders import BrokenEmbedder, WordEmbedder
from tests.backends.memory_store.stores import Opened, open_store, own, place
from tests.marks import asyncio_only

pytestmark = asyncio_only

CONTENT = "The harbour is closed on Sundays."
NEARLY = "the harbour is closed, on sundays"


async def fill(opened: Opened, others: int) -> None:
    await opened.store.add(MemoryDraft(content=CONTENT, tags=("a",)), place())
    await opened.store.add(MemoryDraft(content="?!", tags=("a",)), place())
    for number in range(others):
        await opened.store.add(MemoryDraft(content=f"another, number {number}"), place())


async def by_meaning(directory: Path, text: str = CONTENT) -> list[Hit]:
    async with open_store(directory) as opened:
        assert await opened.problems() == []
        query = MemoryQuery(text=text, mode="vector", k=1, explain=True)
        return list(await opened.store.search(query, own()))


@pytest.mark.parametrize("others", [0, LOOSE_ROWS + 64])
@pytest.mark.parametrize("again", [CONTENT, NEARLY])
@pytest.mark.parametrize("embedder", [WordEmbedder("words"), BrokenEmbedder()])
async def test_a_memory_that_gets_more_tags_is_found_by_its_meaning_as_before(
    tmp_path: Path, others: int, again: str, embedder: Embedder
) -> None:
    async with open_store(tmp_path) as opened:
        await fill(opened, others)
    [before] = await by_meaning(tmp_path)
    async with open_store(tmp_path, embedder) as opened:
        for text in (again, "?!"):
            more = MemoryDraft(content=text, tags=("b",), fold=True)
            assert (await opened.store.add(more, place())).deduplicated
    [after] = await by_meaning(tmp_path)
    assert (after.content, after.why, after.tags) == (CONTENT, before.why, ("a", "b"))
    async with open_store(tmp_path) as opened:
        assert await opened.store.reembed() == 0


async def test_a_vector_that_is_still_to_be_made_stays_so(tmp_path: Path) -> None:
    async with open_store(tmp_path, BrokenEmbedder()) as opened:
        await fill(opened, LOOSE_ROWS + 64)
        more = MemoryDraft(content=NEARLY, tags=("b",), fold=True)
        assert (await opened.store.add(more, place())).deduplicated
    async with open_store(tmp_path) as opened:
        assert await opened.store.reembed() == LOOSE_ROWS + 66
    [hit] = await by_meaning(tmp_path)
    assert hit.tags == ("a", "b")


async def test_the_vector_of_the_same_text_is_renewed_with_it(tmp_path: Path) -> None:
    async with open_store(tmp_path, WordEmbedder("older")) as opened:
        await fill(opened, 0)
    assert await by_meaning(tmp_path) == []
    async with open_store(tmp_path) as opened:
        more = MemoryDraft(content=CONTENT, tags=("b",))
        assert (await opened.store.add(more, place())).deduplicated
    assert len(await by_meaning(tmp_path)) == 1
