"""The entries within a search's reach, as columns of numbers.

Positions count over all partitions together. What is out of reach, has left or has expired has a
position too but never counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apsw
import numpy as np
from numpy.typing import NDArray

from backends.database import fetch
from backends.memory_store.blocks import (
    FACTS,
    Block,
    Bucket,
    Facts,
    joined_facts,
    read_blocks,
    read_parts,
    to_bucket,
    to_sketches,
)
from backends.memory_store.entries import LOOSE, Loose, by_embedder
from backends.memory_store.partitions import Partition
from backends.memory_store.schema import SEQ_BITS
from backends.memory_store.vectors import Probe, Sketches
from backends.memory_store.words import Hashes, label_hash
from backends.messages import MemoryQuery
from backends.text import well_formed

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]

_HELD_AT_ONCE = 8192

FARTHEST = np.iinfo(np.uint16).max


class Successions(NamedTuple):
    """Pairs of entries of which one was said right after the other."""

    earlier: Positions
    later: Positions


class _Packed(NamedTuple):
    """A block and the position of its first entry."""

    start: int
    block: Block


class _Loose:
    """Entries of one partition and embedder that stand alone, and the position of the first."""

    def __init__(self, start: int, embedder: int, rows: Loose) -> None:
        facts, sketches, words = zip(*rows, strict=True)
        self.start = start
        self.embedder = embedder
        self.facts: Facts = np.frombuffer(b"".join(facts), FACTS)
        self._sketches = b"".join(sketches)
        self._hashes: Hashes = np.frombuffer(b"".join(words), np.uint32)
        self._ends = np.cumsum([len(each) // 4 for each in words])

    def holding(self, word: int) -> Positions:
        """Give the positions of the entries that hold a word."""
        found = np.flatnonzero(self._hashes == word)
        return np.searchsorted(self._ends, found, side="right") + self.start

    def sketches(self) -> Sketches:
        """Give their sketches."""
        return np.frombuffer(self._sketches, np.uint64).reshape(len(self.facts), -1).T


class Index:
    """What a search may look at.

    Attributes:
        size: Entries, the living and the others.
        facts: One record each.
        is_live: They are within reach, have not left and have not expired.
        is_loose: They stand alone.
    """

    def __init__(
        self, connection: apsw.Connection, partitions: Sequence[Partition], now: float
    ) -> None:
        self._connection = connection
        self._packed: list[_Packed] = []
        self._loose: list[_Loose] = []
        self._buckets: dict[int, Bucket] = {}
        self.size = 0
        facts: list[Facts] = [np.empty(0, FACTS)]
        live: list[Mask] = [np.empty(0, np.bool_)]
        starts: list[int] = []
        for partition in partitions:
            starts.append(self.size)
            for block in read_blocks(connection, "space = ?", (partition.space,)):
                self._packed.append(_Packed(self.size, block))
                self._append(block.facts, facts)
                live.append(block.is_live)
            rows = fetch(connection, f"{LOOSE} ORDER BY id", partition.ids)
            for embedder, own in by_embedder(rows).items():
                self._loose.append(loose := _Loose(self.size, embedder, own))
                self._append(loose.facts, facts)
                live.append(np.ones(len(own), np.bool_))
        self.facts = joined_facts(facts)
        self.is_loose = np.zeros(self.size, np.bool_)
        for loose in self._loose:
            self.is_loose[loose.start : loose.start + len(loose.facts)] = True
        self.is_live: Mask = np.concatenate(live) & (self.facts["expires"] > now)
        ends = [*starts[1:], self.size]
        for start, end, partition in zip(starts, ends, partitions, strict=False):
            namespaces = self.facts["namespace"][start:end]
            within = np.zeros(end - start, np.bool_)
            for namespace in partition.namespaces:
                within |= namespaces == namespace
            self.is_live[start:end] &= within
        self._starts = np.array(starts, np.int64)
        self._bases = np.array([each.space << SEQ_BITS for each in partitions], np.int64)

    def look_up(self, words: Iterable[int]) -> None:
        """Read what is needed for `holding` of these words, all at once."""
        wanted = list(words)
        parts = {each.block.words_part(word) for each in self._packed for word in wanted}
        if parts := parts - self._buckets.keys():
            for part, content in read_parts(self._connection, parts):
                self._buckets[part] = to_bucket(content)

    def holding(self, word: int) -> Positions:
        """Give the living entries that hold a word."""
        holders: Positions = np.concatenate([np.empty(0, np.int64), *self._holding(word)])
        living: Positions = holders[self.is_live[holders]]
        return living

    def _holding(self, word: int) -> Iterator[Positions]:
        for loose in self._loose:
            yield loose.holding(word)
        for start, block in self._packed:
            positions = self._buckets[block.words_part(word)].holding(word)
            if len(positions):
                yield positions + np.int64(start)

    def passing(self, query: MemoryQuery) -> Mask:
        """Give who lives and passes the query's filters."""
        alternatives = [[label_hash("tag", well_formed(tag))] for tag in query.tags]
        if query.kinds:
            alternatives.append([label_hash("kind", well_formed(kind)) for kind in query.kinds])
        if query.session is not None:
            alternatives.append([label_hash("session", query.session)])
        self.look_up(word for words in alternatives for word in words)
        mask = self.is_live.copy()
        for words in alternatives:
            holds = np.zeros(self.size, np.bool_)
            for word in words:
                for holders in self._holding(word):
                    holds[holders] = True
            mask &= holds
        if query.since is not None:
            mask &= self.facts["created"] >= query.since
        if query.until is not None:
            mask &= self.facts["created"] < query.until
        return mask

    def costs(self, components: bytes, embedder: int, among: Mask) -> NDArray[np.uint16]:
        """Estimate how far some entries' vectors are; `FARTHEST` for all that have none."""
        probe = Probe(components)
        found = np.full(self.size, FARTHEST, np.uint16)
        held: list[tuple[Positions, Sketches]] = []
        for start, sketches in self._sketches(embedder):
            chosen = among[start : start + sketches.shape[1]].nonzero()[0]
            is_all = len(chosen) == sketches.shape[1]
            held.append((chosen + start, sketches if is_all else sketches.take(chosen, axis=1)))
            if sum(len(positions) for positions, _ in held) >= _HELD_AT_ONCE:
                _hold(probe, held, found)
        _hold(probe, held, found)
        return found

    def _sketches(self, embedder: int) -> Iterator[tuple[int, Sketches]]:
        packed = {
            each.block.sketches_part: each
            for each in self._packed
            if each.block.embedder == embedder
        }
        for part, content in read_parts(self._connection, packed):
            start, block = packed[part]
            yield start, to_sketches(content, len(block.facts))
        for loose in self._loose:
            if loose.embedder == embedder:
                yield loose.start, loose.sketches()

    def ids(self, positions: Positions) -> NDArray[np.int64]:
        """Give the ids of some entries' memories."""
        ids: NDArray[np.int64] = self._of_partition(positions) | self.facts["seq"][positions]
        return ids

    def successions(self, positions: Positions) -> Successions:
        """Give who was said right before or after some entries, as pairs of the living."""
        found = [Successions(np.empty(0, np.int64), np.empty(0, np.int64))]
        ends = [*self._starts[1:].tolist(), self.size]
        for start, end in zip(self._starts.tolist(), ends, strict=False):
            own = positions[(positions >= start) & (positions < end)] - start
            pairs = _successions(self.facts[start:end], self.is_live[start:end], own)
            found.append(Successions(pairs.earlier + start, pairs.later + start))
        return Successions(*(np.concatenate(each) for each in zip(*found, strict=True)))

    def _of_partition(self, positions: Positions) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._bases[
            np.searchsorted(self._starts, positions, side="right") - 1
        ]
        return found

    def _append(self, facts: Facts, to: list[Facts]) -> None:
        self.size += len(facts)
        to.append(facts)


def _hold(probe: Probe, held: list[tuple[Positions, Sketches]], found: NDArray[np.uint16]) -> None:
    """Hold a query against sketches; together, since each time has its price."""
    if held:
        positions, sketches = zip(*held, strict=True)
        found[np.concatenate(positions)] = probe.costs(np.concatenate(sketches, axis=1))
        held.clear()


def _successions(facts: Facts, is_live: Mask, chosen: Positions) -> Successions:
    seqs, before = np.ascontiguousarray(facts["seq"]), np.ascontiguousarray(facts["before"])
    follows = np.isin(before, seqs[chosen])
    follows[chosen] = True
    later = np.flatnonzero(follows & (before > 0) & is_live)
    there = np.flatnonzero(np.isin(seqs, before[later]) & is_live)
    if not len(there):
        return Successions(there, there)
    there = there[np.argsort(seqs[there])]
    places = np.minimum(np.searchsorted(seqs[there], before[later]), len(there) - 1)
    earlier = there[places]
    is_found = seqs[earlier] == before[later]
    return Successions(earlier[is_found], later[is_found])
