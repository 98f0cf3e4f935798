"""How alike a search finds memories: as alike as they are, whatever stands beside them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from backends.memory_store import SqliteMemoryStore
from backends.memory_store.entries import LOOSE_ROWS
from backends.messages import MemoryDraft, MemoryQuery
from backends.protocols import Embedder
from tests.backends.memory_store.embedders import BrokenEmbedder, WordEmbedder
from tests.backends.memory_store.stores import PLENTY, Opened, numbered_ids, open_store, own, place
from tests.marks import asyncio_only

ASKED = "the harbour by night"
WORDS = ["harbour", "night", "ship", "apple", "rain", "letter"]


def sharing(opened: Opened, embedder: Embedder, prefix: str) -> SqliteMemoryStore:
    """Give a store over the same file with another embedder."""
    ids = numbered_ids()
    return SqliteMemoryStore(
        opened.database,
        embedder,
        now=opened.clock,
        new_id=lambda: prefix + ids(),
        quota=lambda _: PLENTY,
    )


@asyncio_only
async def test_each_of_many_is_as_alike_as_its_vector_says(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    async with open_store(tmp_path, embedder) as opened:
        without = sharing(opened, BrokenEmbedder(), "b")
        other = sharing(opened, WordEmbedder("others"), "o")
        texts: list[str] = []
        for number in range(LOOSE_ROWS + 60):  # a block of each embedder, and some that stand alone
            text = f"{WORDS[number % 6]} {WORDS[number // 6 % 6]} {number}"
            store = {0: without, 3: other}.get(number % 7, opened.store)
            await store.add(MemoryDraft(content=text), place())
            texts += [text] if store is opened.store else []
        query = MemoryQuery(text=ASKED, mode="vector", k=1000)
        hits = await opened.store.search(query, own())
        hybrid = replace(query, mode="hybrid", explain=True)
        fused = await opened.store.search(hybrid, own())
    [asked], vectors = await embedder.embed([ASKED]), await embedder.embed(texts)
    alike = dict(zip(texts, np.clip(vectors @ asked, 0.0, 1.0).tolist(), strict=True))
    assert {hit.content for hit in hits} == set(texts)
    assert all(abs(hit.score - alike[hit.content]) < 0.01 for hit in hits)
    assert len(fused) > len(hits), "words find what has no vector too"
    likest = max(alike.values())
    shares = [
        hit.why["meaning"] * likest / alike[hit.content]
        for hit in fused
        if hit.why is not None and alike.get(hit.content, 0.0) > 0.1
    ]
    assert max(shares) - min(shares) < 0.05
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
