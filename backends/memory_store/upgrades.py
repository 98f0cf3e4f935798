"""How the memory store's tables came to be, version by version."""

import apsw

from backends.database import Component, fetch
from backends.memory_store.entries import LOOSE_ROWS, describe, enter, pack
from backends.memory_store.schema import (
    SEQ_BITS,
    VERSION_1,
    VERSION_2,
    VERSION_3,
    VERSION_4,
    VERSION_5,
)
from backends.memory_store.vectors import Stored


def _to_version_3(connection: apsw.Connection) -> None:
    """Enter every memory of version 1 into the index of blocks, which SQL alone cannot fill."""
    connection.execute(VERSION_3)
    if not connection.table_exists("main", "entry_1"):
        return
    rows = fetch(connection, _ENTRIES_1)
    for number, (memory, embedder, sketch, components) in enumerate(rows, 1):
        described = describe(connection, memory)
        assert described is not None
        vector = (
            None if sketch is None else Stored(components or b"", sketch + bytes(-len(sketch) % 8))
        )
        enter(connection, described, embedder or 0, vector)
        if number % LOOSE_ROWS == 0:
            pack(connection, memory >> SEQ_BITS)
    connection.execute("DROP TABLE entry_1; DROP TABLE tag; DROP TABLE fts; DROP TABLE leaving")


MEMORY_STORE = Component(
    "memory_store", (VERSION_1, VERSION_2, _to_version_3, VERSION_4, VERSION_5)
)

_ENTRIES_1 = """
SELECT id, embedder, sketch, components FROM entry_1 LEFT JOIN vector USING (id) ORDER BY id
"""
