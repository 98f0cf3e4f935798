"""The entries of one partition that stand alone, as searches read them: all, each time.

They are joined by the database, since a row costs more than what stands in it.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import apsw
import numpy as np

from backends.database import fetch_one
from backends.memory_store.blocks import FACTS
from backends.memory_store.columns import Columns, Mask, Positions, Run
from backends.memory_store.partitions import Partition
from backends.memory_store.vectors import Sketches

_LAST = (1 << 63) - 1


class Loose:
    """Entries of one embedder.

    Attributes:
        columns: What is known of them.
    """

    components = """
        SELECT CAST(group_concat(coalesce(components, zeroblob(?)), '') AS BLOB)
        FROM carray(?) LEFT JOIN entry ON id = value AND length(components) = ?
    """

    def __init__(
        self, embedder: int, facts: bytes, sketches: bytes, words: bytes, sizes: str
    ) -> None:
        self.columns = Columns(np.frombuffer(facts, FACTS))
        self._embedder = embedder
        self._sketches = sketches
        self._hashes = np.frombuffer(words, np.uint32)
        self._ends: Positions = np.cumsum(np.fromstring(sizes, np.int64, sep=",")) // 4

    def holding(self, words: Sequence[int], start: int) -> Iterator[Run]:
        """Give the entries that hold some words, in order; their positions count from `start`."""
        count = len(self._hashes)
        is_one: Mask = self._hashes == np.array(words, np.uint32)[:, np.newaxis]
        found = is_one.ravel().nonzero()[0]  # flat, as in a table it takes far longer to find them
        cuts = found.searchsorted(np.arange(len(words) + 1) * count).tolist()
        positions = self._ends.searchsorted(found % count, side="right")
        for word, (first, last) in zip(words, pairwise(cuts), strict=True):
            if first < last:
                yield word, start, positions[first:last]

    def made_by(self, embedder: int) -> tuple[int, int]:
        """Give where the entries begin and end whose vectors an embedder made."""
        return (0, len(self.columns.facts)) if embedder == self._embedder else (0, 0)

    def sketches(self, embedder: int) -> Sketches | None:
        """Give the sketches of the vectors that an embedder made."""
        if embedder != self._embedder:
            return None
        rows = np.frombuffer(self._sketches, np.uint64).reshape(len(self.columns.facts), -1)
        return np.ascontiguousarray(rows.T)


def read_loose(
    connection: apsw.Connection, partition: Partition, first: int = 0, last: int = _LAST
) -> Iterator[Loose]:
    """Give the entries of a partition that stand alone, apart by their embedders."""
    row = fetch_one(connection, _JOINED, (*partition.ids, first, last))
    assert row is not None
    least, most, *joined = row
    if least is None:
        return
    if least == most:
        yield Loose(least, *joined)
        return
    # Those of all were joined in vain, but hardly ever are there several embedders.
    yield from read_loose(connection, partition, least, least)
    yield from read_loose(connection, partition, least + 1, most)


_JOINED = """
SELECT min(embedder), max(embedder),
       CAST(group_concat(facts, '') AS BLOB), CAST(group_concat(sketch, '') AS BLOB),
       CAST(group_concat(words, '') AS BLOB), group_concat(length(words))
FROM entry WHERE id BETWEEN ? AND ? AND embedder BETWEEN ? AND ?
"""
