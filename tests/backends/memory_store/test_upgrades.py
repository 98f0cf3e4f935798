"""Databases of older versions keep working."""

from pathlib import Path

import apsw
import numpy as np
from numpy.typing import NDArray

from backends.database import Component, open_database
from backends.memory_store.entries import LOOSE_ROWS, Entering, describe, entries_of
from backends.memory_store.schema import VERSION_1, VERSION_2
from backends.memory_store.texts import content_hash
from backends.memory_store.vectors import quantise
from backends.messages import MemoryDraft
from tests.backends.memory_store.embedders import WordEmbedder
from tests.backends.memory_store.stores import NOW, found, open_store, place
from tests.marks import asyncio_only

ROWS = 600  # more than one block and some loose entries

_PLACES = """
INSERT INTO space(owner) VALUES('ada');
INSERT INTO namespace(space, name) VALUES(1, 'self');
INSERT INTO embedder(name) VALUES('words')
"""


@asyncio_only
async def test_memories_of_version_1_are_found_as_before(tmp_path: Path) -> None:
    contents = [f"apples number {number}" for number in range(ROWS)]
    vectors = await WordEmbedder().embed(contents)

    def fill(connection: apsw.Connection) -> None:
        connection.execute(_PLACES)
        for number, (content, vector) in enumerate(zip(contents, vectors, strict=True), 1):
            insert(connection, 1 << 32 | number, content, vector)
        # The first was replaced by the second.
        connection.execute("UPDATE memory SET replaced_by = id + 1 WHERE id = (1 << 32) + 1")
        connection.execute("DELETE FROM entry WHERE id = (1 << 32) + 1")

    component = Component("memory_store", (VERSION_1,))
    async with open_database(tmp_path / "memory.db", [component]) as database:
        await database.write(fill)
    async with open_store(tmp_path) as opened:
        for mode in ("keyword", "vector", "hybrid"):
            hits = await found(opened.store, "number 599 apples", mode=mode, k=1000)
            assert hits[0] == "apples number 599"
            unseen = {contents[7]} if mode == "vector" else set[str]()
            assert set(hits) == {*contents[1:]} - unseen
        assert (await opened.store.count("ada")).rows == ROWS
        assert await opened.store.reembed() == 1
        assert contents[7] in await found(opened.store, "apples", mode="vector", k=1000)
        assert await opened.problems() == []


@asyncio_only
async def test_entries_that_stood_alone_in_version_2_are_found_as_before(tmp_path: Path) -> None:
    contents = [*(f"pears number {number}" for number in range(LOOSE_ROWS - 2)), "?!"]
    vectors = await WordEmbedder().embed(contents)

    def fill(connection: apsw.Connection) -> None:
        connection.execute(_PLACES)
        for number, (content, vector) in enumerate(zip(contents, vectors, strict=True), 1):
            insert_2(connection, 1 << 32 | number, content, vector)

    component = Component("memory_store", (VERSION_1, VERSION_2, _END_OF_VERSION_2))
    async with open_database(tmp_path / "memory.db", [component]) as database:
        await database.write(fill)
        version = "UPDATE component SET version = 2"
        await database.write(lambda connection: connection.execute(version))
    async with open_store(tmp_path) as opened:
        for mode in ("keyword", "vector", "hybrid"):
            hits = await found(opened.store, "number 9 pears", mode=mode, k=1000)
            assert hits[0] == "pears number 9"
            unseen = {contents[7]} if mode == "vector" else set[str]()
            assert set(hits) == {*contents[:-1]} - unseen
        # The one without a vector, not the one whose text has nothing to embed.
        assert await opened.store.reembed() == 1
        assert contents[7] in await found(opened.store, "pears", mode="vector", k=1000)
        for number in range(LOOSE_ROWS):  # which packs them
            await opened.store.add(MemoryDraft(content=f"plums number {number}"), place())
        hits = await found(opened.store, "number 9 pears", mode="vector", k=1000)
        assert hits[0] == "pears number 9"
        assert await opened.problems() == []


# What the code of that version did behind its statements.
_END_OF_VERSION_2 = "DROP TABLE entry_1; DROP TABLE tag; DROP TABLE fts; DROP TABLE leaving"


def insert_2(
    connection: apsw.Connection, memory: int, content: str, vector: NDArray[np.float32]
) -> None:
    connection.execute(
        "INSERT INTO memory(id, public, namespace, kind, content, tags, source, created, hash,"
        " size) VALUES(?, ?, 1, 'fact', ?, '[]', '{}', ?, ?, ?)",
        (memory, f"m{memory}", content, NOW, content_hash(content, "fact", None), len(content)),
    )
    described = describe(connection, memory)
    assert described is not None
    [made] = quantise(vector[np.newaxis])
    stored = None if content.endswith(" 7") else made
    [(*entry, components)] = entries_of(connection, [Entering(described, 0, 1, stored)])
    connection.execute("INSERT INTO entry VALUES(?, ?, ?, ?, ?)", entry)
    if components:
        connection.execute("INSERT INTO vector VALUES(?, ?)", (memory, components))


def insert(connection: apsw.Connection, memory: int, content: str, vector: np.ndarray) -> None:
    connection.execute(
        "INSERT INTO memory VALUES(?, ?, 1, 'fact', ?, '[\"a\"]', NULL, '{}', ?, NULL, ?, ?, NULL)",
        (memory, f"m{memory}", content, NOW, content_hash(content, "fact", None), len(content)),
    )
    # One had no vector yet when the database was last open.
    has_vector = not content.endswith(" 7")
    sketch = np.packbits(vector > 0, bitorder="little").tobytes()
    connection.execute(
        "INSERT INTO entry VALUES(?, 1, 'fact', ?, NULL, ?, ?, ?)",
        (memory, NOW, len(content), *((1, sketch) if has_vector else (None, None))),
    )
    if has_vector:
        components = np.rint(vector * (127 / np.abs(vector).max())).astype(np.int8)
        connection.execute("INSERT INTO vector VALUES(?, ?)", (memory, components.tobytes()))
    connection.execute("INSERT INTO tag VALUES(?, ?)", (memory, "a"))
