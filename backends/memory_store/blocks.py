"""Entries packed together by the hundreds and thousands, so that a search reads them at once.

A block is never changed: its entries leave by a mark, and it is packed anew without them later. Its
parts are rows of one table: the facts of its entries, their sketches, and for each word which of
the entries hold it, in buckets by the word's hash.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import apsw
import numpy as np
from numpy.typing import NDArray

from backends.database import fetch
from backends.memory_store.vectors import Sketches
from backends.memory_store.words import Hashes

FACTS = np.dtype(
    [
        ("seq", "<u4"),
        ("namespace", "<u4"),
        ("before", "<u4"),  # seq of what was said right before it, or 0
        ("length", "<u4"),  # words
        ("created", "<f8"),
        ("expires", "<f8"),  # infinite for never
        ("importance", "<f4"),
        ("nearness", "<f4"),  # of the one before it, in [0, 1]
    ]
)

Facts = NDArray[np.void]
Positions = NDArray[np.uint16]

_PART_BITS = 8
_FACTS_PART, _SKETCHES_PART, _FIRST_BUCKET = 0, 1, 2
_BUCKET_BITS = 6
_ONE_BUCKET_ROWS = 1024  # in smaller blocks all words are read faster than one is found


@dataclass(frozen=True, slots=True)
class Entries:
    """Some entries of one partition and one embedder, in memory.

    Attributes:
        facts: One record each.
        sketches: One column each; no rows where there are no vectors.
        hashes: Words, sorted, each as often as entries hold it.
        positions: For each of them the entry that holds it.
    """

    facts: Facts
    sketches: Sketches
    hashes: Hashes
    positions: NDArray[np.uint32]

    def only(self, is_kept: NDArray[np.bool_]) -> "Entries":
        """Give some of them."""
        new_positions = np.cumsum(is_kept, dtype=np.uint32) - np.uint32(1)
        words = is_kept[self.positions]
        return Entries(
            self.facts[is_kept],
            self.sketches[:, is_kept],
            self.hashes[words],
            new_positions[self.positions[words]],
        )


def joined_facts(several: Sequence[Facts]) -> Facts:
    """Give facts together; as whole words, which copies far faster than field by field."""
    words = np.concatenate([each.view(np.uint64) for each in several])
    return words.view(FACTS)


def joined(several: Sequence[Entries]) -> Entries:
    """Give the entries of several together."""
    starts = np.cumsum([0, *(len(each.facts) for each in several)])
    hashes = np.concatenate([each.hashes for each in several])
    positions = np.concatenate(
        [each.positions + np.uint32(start) for each, start in zip(several, starts, strict=False)]
    )
    order = np.argsort(hashes, kind="stable")
    return Entries(
        joined_facts([each.facts for each in several]),
        np.concatenate([each.sketches for each in several], axis=1),
        hashes[order],
        positions[order],
    )


class Bucket(NamedTuple):
    """Some words of a block, sorted, and who holds them."""

    hashes: Hashes
    ends: NDArray[np.uint32]
    positions: Positions

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return self.hashes.nbytes + self.ends.nbytes + self.positions.nbytes


@dataclass(frozen=True, slots=True)
class Block:
    """A block in the database, without its sketches and words.

    Attributes:
        no: Its number.
        embedder: Number of what made its vectors; 0 where they are still to be made.
        facts: One record for each entry.
        is_live: Which have not left.
    """

    no: int
    embedder: int
    facts: Facts
    is_live: NDArray[np.bool_]

    @property
    def sketches_part(self) -> int:
        """Where its sketches are."""
        return sketches_part(self.no)


def facts_part(no: int) -> int:
    """Give where the facts of a block are."""
    return no << _PART_BITS | _FACTS_PART


def sketches_part(no: int) -> int:
    """Give where the sketches of a block are."""
    return no << _PART_BITS | _SKETCHES_PART


def words_part(no: int, rows: int, word: int) -> int:
    """Give where a word would be, in a block of so many entries."""
    bucket = word >> 32 - _BUCKET_BITS if rows > _ONE_BUCKET_ROWS else 0
    return no << _PART_BITS | _FIRST_BUCKET + bucket


def to_live(content: bytes, rows: int) -> NDArray[np.bool_]:
    """Read which entries of a block have not left."""
    return np.unpackbits(np.frombuffer(content, np.uint8), count=rows).view(np.bool_)


def read_blocks(
    connection: apsw.Connection, where: str, bindings: Sequence[int] = ()
) -> list[Block]:
    """Give the blocks that a condition chooses, the oldest first."""
    rows = fetch(
        connection,
        "SELECT no, embedder, live, content FROM block"
        f" JOIN part ON part.id = no << {_PART_BITS} WHERE {where} ORDER BY no",
        bindings,
    )
    blocks: list[Block] = []
    for no, embedder, live, content in rows:
        facts = np.frombuffer(content, FACTS)
        blocks.append(Block(no, embedder, facts, to_live(live, len(facts))))
    return blocks


def read_parts(connection: apsw.Connection, parts: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Give parts of blocks with their numbers, one after the other."""
    wanted = np.array(sorted(parts), np.int64)
    if not len(wanted):
        return
    rows = connection.execute(
        "SELECT id, content FROM carray(?) CROSS JOIN part ON id = value", (apsw.carray(wanted),)
    )
    yield from cast("Iterator[tuple[int, bytes]]", rows)


def to_sketches(content: bytes, rows: int) -> Sketches:
    """Read the sketches of a block."""
    return np.frombuffer(content, np.uint64).reshape(-1, rows)


def to_bucket(content: bytes) -> Bucket:
    """Read a bucket of words."""
    count = int.from_bytes(content[:4], "little")
    return Bucket(
        np.frombuffer(content, np.uint32, count, 4),
        np.frombuffer(content, np.uint32, count, 4 + 4 * count),
        np.frombuffer(content, np.uint16, -1, 4 + 8 * count),
    )


def read_entries(connection: apsw.Connection, block: Block) -> Entries:
    """Read the entries of a block that have not left."""
    first = block.no << _PART_BITS
    parts = range(first + _SKETCHES_PART, first + _FIRST_BUCKET + _buckets(len(block.facts)))
    sketches, *words = (content for _, content in read_parts(connection, parts))
    buckets = [to_bucket(each) for each in words]
    counts = [np.diff(each.ends, prepend=np.uint32(0)) for each in buckets]
    hashes = [np.repeat(each.hashes, n) for each, n in zip(buckets, counts, strict=True)]
    whole = Entries(
        block.facts,
        to_sketches(sketches, len(block.facts)),
        np.concatenate(hashes),
        np.concatenate([each.positions for each in buckets]).astype(np.uint32),
    )
    return whole.only(block.is_live)


def write_block(connection: apsw.Connection, space: int, embedder: int, entries: Entries) -> None:
    """Pack entries; no entries make no block."""
    rows = len(entries.facts)
    if not rows:
        return
    seqs = entries.facts["seq"]
    connection.execute(
        "INSERT INTO block(space, embedder, rows, first, last, live) VALUES(?, ?, ?, ?, ?, ?)",
        (
            space,
            embedder,
            rows,
            int(seqs.min()),
            int(seqs.max()),
            np.packbits(np.ones(rows, np.bool_)).tobytes(),
        ),
    )
    first = connection.last_insert_rowid() << _PART_BITS
    parts = [entries.facts.tobytes(), entries.sketches.tobytes(), *_packed_words(entries)]
    connection.executemany(
        "INSERT INTO part VALUES(?, ?)", [(first + no, part) for no, part in enumerate(parts)]
    )


def delete_block(connection: apsw.Connection, no: int) -> None:
    """Delete a block with its parts."""
    first = no << _PART_BITS
    connection.execute(
        "DELETE FROM part WHERE id BETWEEN ? AND ?", (first, first + (1 << _PART_BITS) - 1)
    )
    connection.execute("DELETE FROM block WHERE no = ?", (no,))


def mark_left(connection: apsw.Connection, block: Block, is_leaving: NDArray[np.bool_]) -> None:
    """Take entries out of a block's searches."""
    live = np.packbits(block.is_live & ~is_leaving).tobytes()
    connection.execute(
        "UPDATE block SET live = ?, gone = gone + ? WHERE no = ?",
        (live, int(np.count_nonzero(block.is_live & is_leaving)), block.no),
    )


def _packed_words(entries: Entries) -> Iterator[bytes]:
    hashes, counts = np.unique(entries.hashes, return_counts=True)
    ends = np.cumsum(counts, dtype=np.uint32)
    positions = entries.positions.astype(np.uint16)
    buckets = _buckets(len(entries.facts))
    cuts = np.searchsorted(hashes, np.arange(1, buckets) * (2**32 // buckets))
    start = 0
    for first, last in zip([0, *cuts], [*cuts, len(hashes)], strict=True):
        end = int(ends[last - 1]) if last else 0
        yield b"".join(
            (
                int(last - first).to_bytes(4, "little"),
                hashes[first:last].tobytes(),
                (ends[first:last] - np.uint32(start)).tobytes(),
                positions[start:end].tobytes(),
            )
        )
        start = end


def _buckets(rows: int) -> int:
    return 1 << _BUCKET_BITS if rows > _ONE_BUCKET_ROWS else 1
