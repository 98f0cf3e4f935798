"""The blocks of one partition as searches read them: together, and no more than they need.

What was read is kept for later searches. Blocks never change and their numbers are never given
again, so it holds for as long as the partition has the same blocks; only who has left is read anew.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import apsw
import numpy as np

from backends.database import fetch
from backends.memory_store.blocks import (
    FACTS,
    Bucket,
    facts_part,
    read_parts,
    sketches_part,
    to_bucket,
    to_live,
    to_sketches,
    words_part,
)
from backends.memory_store.columns import Columns, Mask, Positions
from backends.memory_store.vectors import Sketches


class Head(NamedTuple):
    """A block without its content; `live` is None where none of its entries has left."""

    no: int
    embedder: int
    rows: int
    live: bytes | None


class Sketched(NamedTuple):
    """Sketches, and the position of the first."""

    start: int
    sketches: Sketches


def read_heads(connection: apsw.Connection, space: int) -> list[Head]:
    """Give the blocks of a partition, those of one embedder together."""
    rows = fetch(
        connection,
        "SELECT no, embedder, rows, CASE WHEN gone > 0 THEN live END FROM block WHERE space = ?"
        " ORDER BY embedder, no",
        (space,),
    )
    return [Head(*row) for row in rows]


def live_of(heads: Sequence[Head]) -> Mask | None:
    """Give which entries have not left; None where none has."""
    if all(head.live is None for head in heads):
        return None
    return np.concatenate(
        [
            np.ones(head.rows, np.bool_) if head.live is None else to_live(head.live, head.rows)
            for head in heads
        ]
    )


class Packed:
    """The entries of some blocks, one behind the other.

    Attributes:
        nos: The blocks' numbers.
        columns: What is known of the entries.
    """

    def __init__(self, connection: apsw.Connection, heads: Sequence[Head]) -> None:
        """Read the facts."""
        self.nos = tuple(head.no for head in heads)
        self._starts = [0, *accumulate(head.rows for head in heads)]
        self._heads = heads
        contents = dict(read_parts(connection, map(facts_part, self.nos)))
        facts = b"".join(contents[facts_part(no)] for no in self.nos)
        self.columns = Columns(np.frombuffer(facts, FACTS))
        self._buckets: dict[int, Bucket] = {}
        self._sketches: dict[int, Sketched] = {}

    @property
    def size_bytes(self) -> int:
        """What is held in memory."""
        sketches = sum(each.sketches.nbytes for each in self._sketches.values())
        words = sum(bucket.size_bytes for bucket in self._buckets.values())
        return self.columns.size_bytes + sketches + words

    def look_up(self, connection: apsw.Connection, words: Iterable[int]) -> None:
        """Read what is needed for `holding` of these words, all at once."""
        wanted = {words_part(head.no, head.rows, word) for word in words for head in self._heads}
        for part, content in read_parts(connection, wanted - self._buckets.keys()):
            self._buckets[part] = to_bucket(content)

    def holding(self, word: int) -> Iterator[Positions]:
        """Give the entries that hold a word, those of one block after the other."""
        for start, head in zip(self._starts, self._heads, strict=False):
            positions = self._buckets[words_part(head.no, head.rows, word)].holding(word)
            if len(positions):
                yield positions + np.int64(start)

    def sketches(self, connection: apsw.Connection, embedder: int) -> Sketched | None:
        """Give the sketches of the vectors that an embedder made."""
        found = self._sketches.get(embedder)
        own = [number for number, head in enumerate(self._heads) if head.embedder == embedder]
        if found is None and own:
            contents = dict(read_parts(connection, [sketches_part(self.nos[n]) for n in own]))
            each = [
                to_sketches(contents[sketches_part(self.nos[n])], self._heads[n].rows) for n in own
            ]
            found = Sketched(self._starts[own[0]], np.concatenate(each, axis=1))
            self._sketches[embedder] = found
        return found


class Kept:
    """What was read of partitions, the one used last at the end, up to a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._turn = threading.Lock()  # guards the three below: searches run on several threads
        self._packed: OrderedDict[int, Packed] = OrderedDict()
        self._sizes: dict[int, int] = {}
        self._total = 0

    def get(self, space: int, heads: Sequence[Head]) -> Packed | None:
        """Give what was read of a partition that has exactly these blocks."""
        with self._turn:
            packed = self._packed.get(space)
        return packed if packed and packed.nos == tuple(head.no for head in heads) else None

    def put(self, space: int, packed: Packed) -> None:
        """Keep what was read, if it is not too much, and let the rest go that was not used."""
        with self._turn:
            self._drop(space)
            self._packed[space] = packed
            self._sizes[space] = packed.size_bytes
            self._total += self._sizes[space]
            while self._total > self._most_bytes:
                self._drop(next(iter(self._packed)))

    def drop(self, spaces: Iterable[int]) -> None:
        """Let go of partitions, so that what was purged does not stay in memory."""
        with self._turn:
            for space in spaces:
                self._drop(space)

    def _drop(self, space: int) -> None:
        if self._packed.pop(space, None) is not None:
            self._total -= self._sizes.pop(space)
