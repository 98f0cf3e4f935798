"""Databases of older versions keep working."""

from pathlib import Path

import apsw
import numpy as np

from backends.database import Component, open_database
from backends.memory_store.schema import VERSION_1
from backends.memory_store.texts import content_hash
from tests.backends.memory_store.embedders import WordEmbedder
from tests.backends.memory_store.stores import NOW, found, open_store
from tests.marks import asyncio_only

ROWS = 600  # more than one block and some loose entries


@asyncio_only
async def test_memories_of_version_1_are_found_as_before(tmp_path: Path) -> None:
    contents = [f"apples number {number}" for number in range(ROWS)]
    vectors = await WordEmbedder().embed(contents)

    def fill(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO space(owner) VALUES('ada')")
        connection.execute("INSERT INTO namespace(space, name) VALUES(1, 'self')")
        connection.execute("INSERT INTO embedder(name) VALUES('words')")
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
