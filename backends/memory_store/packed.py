"""The blocks of one partition as searches read them: together, and no more than they need.

What was read is kept for later searches. Blocks never change and their numbers are never given
again, so it holds for as long as the partition has the same blocks; only who has left is read anew.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
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
from backends.memory_store.columns import NO_EMBEDDER, Columns, Mask, Run
from backends.memory_store.vectors import Sketches


class Head(NamedTuple):
    """A block without its content; `live` is None where none of its entries has left."""

    no: int
    embedder: int
    rows: int
    live: bytes | None


def read_heads(connection: apsw.Connection, space: int) -> list[Head]:
    """Give the blocks of a partition, those of one embedder together."""
    rows = fetch(
        connection,
        "SELECT no, embedder, rows, CASE WHEN gone > 0 THEN live END FROM block WHERE space = ?",
        (space,),
    )
    return sorted((Head(*row) for row in rows), key=lambda head: (head.embedder, head.no))


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

    components = """
        SELECT CAST(group_concat(coalesce(components, zeroblob(?)), '') AS BLOB)
        FROM carray(?) LEFT JOIN vector ON id = value AND length(components) = ?
    """

    def __init__(
        self,
        connection: apsw.Connection,
        heads: Sequence[Head],
        words: Sequence[int] = (),
        embedder: int = NO_EMBEDDER,
    ) -> None:
        """Read the facts, and what `look_up` reads, all at once."""
        self.nos = tuple(head.no for head in heads)
        self._starts = [0, *accumulate(head.rows for head in heads)]
        self._heads = heads
        self._buckets: dict[int, Bucket] = {}
        self._sketches: dict[int, Sketches] = {}
        facts = list(map(facts_part, self.nos))
        contents = self._read(connection, words, embedder, facts)
        self.columns = Columns(np.frombuffer(b"".join(map(contents.__getitem__, facts)), FACTS))

    @property
    def size_bytes(self) -> int:
        """What is held in memory."""
        # Of copies, since another thread may be reading more meanwhile.
        sketches = sum(each.nbytes for each in list(self._sketches.values()))
        words = sum(bucket.size_bytes for bucket in list(self._buckets.values()))
        return self.columns.size_bytes + sketches + words

    def look_up(
        self, connection: apsw.Connection, words: Sequence[int], embedder: int = NO_EMBEDDER
    ) -> None:
        """Read what is needed for `holding` and `sketches`, if it is not there yet."""
        self._read(connection, words, embedder)

    def _read(
        self,
        connection: apsw.Connection,
        words: Sequence[int],
        embedder: int,
        others: Sequence[int] = (),
    ) -> dict[int, bytes]:
        buckets = {part for head in self._heads for part, _ in _by_part(head, words)}
        buckets -= self._buckets.keys()
        own = [] if embedder in self._sketches else self._blocks_of(embedder)
        sketches = [sketches_part(self.nos[number]) for number in own]
        contents = dict(read_parts(connection, [*others, *sketches, *buckets]))
        for part in buckets:
            self._buckets[part] = to_bucket(contents[part])
        if own:
            each = [
                to_sketches(contents[part], self._heads[number].rows)
                for part, number in zip(sketches, own, strict=True)
            ]
            self._sketches[embedder] = np.concatenate(each, axis=1)
        return contents

    def made_by(self, embedder: int) -> tuple[int, int]:
        """Give where the entries begin and end whose vectors an embedder made."""
        own = self._blocks_of(embedder)
        return (self._starts[own[0]], self._starts[own[-1] + 1]) if own else (0, 0)

    def _blocks_of(self, embedder: int) -> list[int]:
        return [number for number, head in enumerate(self._heads) if head.embedder == embedder]

    def holding(self, words: Sequence[int], start: int) -> Iterator[Run]:
        """Give the entries that hold some words, in order; their positions count from `start`."""
        for before, head in zip(self._starts, self._heads, strict=False):
            for part, own in _by_part(head, words):
                hashes, ends, positions = self._buckets[part]
                places = hashes.searchsorted(np.array(own, np.uint32)).tolist()
                for word, place in zip(own, places, strict=True):
                    if place < len(hashes) and hashes[place] == word:
                        first = ends[place - 1] if place else 0
                        yield word, start + before, positions[first : ends[place]]

    def sketches(self, embedder: int) -> Sketches | None:
        """Give the sketches of the vectors that an embedder made."""
        return self._sketches.get(embedder)


def _by_part(head: Head, words: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
    """Give the parts of a block where words would be; these are in order, and so are the parts."""
    if not words:
        return []
    parts = words_part(head.no, head.rows, words[0]), words_part(head.no, head.rows, words[-1])
    if parts[0] == parts[1]:
        return [(parts[0], words)]
    found = groupby(words, key=lambda word: words_part(head.no, head.rows, word))
    return [(part, list(own)) for part, own in found]


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
