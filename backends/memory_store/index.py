"""The entries within a search's reach, as columns of numbers.

Positions count over all partitions together. What is out of reach, has left or has expired has a
position too but never counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Any, NamedTuple

import apsw
import numpy as np
from numpy.typing import NDArray

from backends.database import fetch
from backends.memory_store.blocks import FACTS
from backends.memory_store.columns import Columns, Mask, Positions, Seqs
from backends.memory_store.entries import LOOSE, Loose, by_embedder
from backends.memory_store.packed import Kept, Packed, Sketched, live_of, read_heads
from backends.memory_store.partitions import Partition
from backends.memory_store.schema import SEQ_BITS
from backends.memory_store.vectors import Probe
from backends.memory_store.words import Hashes, label_hash
from backends.messages import MemoryQuery
from backends.text import well_formed

_FEW = 4  # where less than one of so many is asked for, these are picked out first

FARTHEST = np.iinfo(np.uint16).max


def filter_words(query: MemoryQuery) -> list[list[int]]:
    """Give the labels that a query asks for: one of each list."""
    wanted = [[label_hash("tag", well_formed(tag))] for tag in query.tags]
    if query.kinds:
        wanted.append([label_hash("kind", well_formed(kind)) for kind in query.kinds])
    if query.session is not None:
        wanted.append([label_hash("session", query.session)])
    return wanted


class Successions(NamedTuple):
    """Pairs of entries of which one was said right after the other."""

    earlier: Positions
    later: Positions


class _Loose:
    """Entries of one partition and embedder that stand alone."""

    def __init__(self, embedder: int, rows: Loose) -> None:
        _, facts, sketches, words = zip(*rows, strict=True)
        self.columns = Columns(np.frombuffer(b"".join(facts), FACTS))
        self._embedder = embedder
        self._sketches = b"".join(sketches)
        self._hashes: Hashes = np.frombuffer(b"".join(words), np.uint32)
        self._ends = np.cumsum([len(each) // 4 for each in words])

    def look_up(self, connection: apsw.Connection, words: Iterable[int]) -> None:
        """Do nothing: all is read."""

    def holding(self, word: int) -> Iterator[Positions]:
        """Give the entries that hold a word."""
        found = (self._hashes == word).nonzero()[0]
        if len(found):
            yield self._ends.searchsorted(found, side="right")

    def sketches(self, connection: apsw.Connection, embedder: int) -> Sketched | None:
        """Give the sketches of the vectors that an embedder made."""
        del connection
        if embedder != self._embedder:
            return None
        rows = len(self.columns.facts)
        return Sketched(0, np.frombuffer(self._sketches, np.uint64).reshape(rows, -1).T)


class _Stretch(NamedTuple):
    """Entries of one partition at successive positions.

    Attributes:
        space: Number of the partition.
        start: Position of the first.
        end: Position behind the last.
        source: What gives more of them.
    """

    space: int
    start: int
    end: int
    source: Packed | _Loose

    @property
    def columns(self) -> Columns:
        """What is known of each."""
        return self.source.columns


class Index:
    """What a search may look at.

    Attributes:
        size: Entries, the living and the others.
        is_live: They are within reach, have not left and have not expired.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        partitions: Sequence[Partition],
        now: float,
        kept: Kept | None = None,
    ) -> None:
        """Read what every search needs.

        Args:
            connection: Of which a consistent state is seen.
            partitions: Within reach.
            now: Unix seconds.
            kept: What other searches have read. None where the connection may see what is not
                committed, since that may never come to be.
        """
        self._connection = connection
        self._kept = kept
        self._stretches: list[_Stretch] = []
        self.size = 0
        masks: list[Mask] = [np.empty(0, np.bool_)]
        for partition in partitions:
            for source, live in self._sources(partition):
                start, self.size = self.size, self.size + len(source.columns.facts)
                stretch = _Stretch(partition.space, start, self.size, source)
                self._stretches.append(stretch)
                within = source.columns.within(partition.namespaces, now)
                given = [each for each in (live, within) if each is not None]
                whole = np.ones(self.size - start, np.bool_)
                masks.append(np.logical_and.reduce([whole, *given]) if given else whole)
        self.is_live: Mask = np.concatenate(masks)
        self._is_all_live = bool(self.is_live.all())
        self._bases = np.array([each.space << SEQ_BITS for each in self._stretches], np.int64)
        self._starts = np.array([each.start for each in self._stretches], np.int64)

    def _sources(self, partition: Partition) -> Iterator[tuple[Packed | _Loose, Mask | None]]:
        if heads := read_heads(self._connection, partition.space):
            packed = self._kept.get(partition.space, heads) if self._kept else None
            yield packed or Packed(self._connection, heads), live_of(heads)
        rows = fetch(self._connection, f"{LOOSE} ORDER BY id", partition.ids)
        for embedder, own in by_embedder(rows).items():
            yield _Loose(embedder, own), None

    def keep(self) -> None:
        """Leave what was read to later searches."""
        for stretch in self._stretches:
            if self._kept and isinstance(stretch.source, Packed):
                self._kept.put(stretch.space, stretch.source)

    def look_up(self, words: Iterable[int]) -> None:
        """Read what is needed for `holding` of these words, all at once."""
        wanted = list(words)
        for stretch in self._stretches if wanted else ():
            stretch.source.look_up(self._connection, wanted)

    def holding(self, word: int) -> list[Positions]:
        """Give the living entries that hold a word, in parts."""
        if self._is_all_live:
            return list(self._holding(word))
        return [holders[self.is_live[holders]] for holders in self._holding(word)]

    def _holding(self, word: int) -> Iterator[Positions]:
        for stretch in self._stretches:
            for holders in stretch.source.holding(word):
                yield holders + stretch.start if stretch.start else holders

    def passing(self, query: MemoryQuery) -> Mask:
        """Give who lives and passes the query's filters."""
        alternatives = filter_words(query)
        self.look_up(chain(*alternatives))
        mask = self.is_live.copy()
        for words in alternatives:
            holds = np.zeros(self.size, np.bool_)
            for word in words:
                for holders in self._holding(word):
                    holds[holders] = True
            mask &= holds
        if query.since is None and query.until is None:
            return mask
        for stretch in self._stretches:
            created, own = stretch.columns.facts["created"], mask[stretch.start : stretch.end]
            if query.since is not None:
                own &= created >= query.since
            if query.until is not None:
                own &= created < query.until
        return mask

    def mean_length(self) -> float:
        """Give how many words the living have on average, at least one."""
        live = int(np.count_nonzero(self.is_live))
        total = sum(each.columns.words for each in self._stretches)
        if not self._is_all_live:
            total = sum(
                int(each.columns.facts["length"].sum(where=self.is_live[each.start : each.end]))
                for each in self._stretches
            )
        return max(1.0, total / max(1, live))

    def costs(self, components: bytes, embedder: int, among: Mask) -> NDArray[np.uint16]:
        """Estimate how far some entries' vectors are; `FARTHEST` for all that have none."""
        probe = Probe(components)
        found = np.full(self.size, FARTHEST, np.uint16)
        for stretch in self._stretches:
            sketched = stretch.source.sketches(self._connection, embedder)
            if sketched is None:
                continue
            start = stretch.start + sketched.start
            own = slice(start, start + sketched.sketches.shape[1])
            chosen = among[own].nonzero()[0]
            if len(chosen) * _FEW < sketched.sketches.shape[1]:
                found[chosen + start] = probe.costs(sketched.sketches.take(chosen, axis=1))
            else:
                found[own] = probe.costs(sketched.sketches)
                found[own][~among[own]] = FARTHEST
        return found

    def fact(self, name: str, positions: Positions) -> NDArray[Any]:
        """Give one of the facts of some entries."""
        found = np.empty(len(positions), FACTS[name])
        for stretch in self._stretches:
            is_own = (positions >= stretch.start) & (positions < stretch.end)
            found[is_own] = stretch.columns.facts[name][positions[is_own] - stretch.start]
        return found

    def ids(self, positions: Positions) -> NDArray[np.int64]:
        """Give the ids of some entries' memories."""
        bases = self._bases[np.searchsorted(self._starts, positions, side="right") - 1]
        ids: NDArray[np.int64] = bases | self.fact("seq", positions)
        return ids

    def successions(self, positions: Positions) -> Successions:
        """Give who was said right before or after some entries, as pairs of the living."""
        found = [Successions(np.empty(0, np.int64), np.empty(0, np.int64))]
        for _, group in groupby(self._stretches, key=lambda each: each.space):
            stretches = list(group)
            if any(each.columns.followers for each in stretches):
                found += self._successions(stretches, positions)
        return Successions(*(np.concatenate(each) for each in zip(*found, strict=True)))

    def _successions(
        self, stretches: Sequence[_Stretch], positions: Positions
    ) -> Iterator[Successions]:
        start, end = stretches[0].start, stretches[-1].end
        chosen = positions[(positions >= start) & (positions < end)]
        seqs: Seqs = self.fact("seq", chosen)
        following = [each.columns.following(seqs) + each.start for each in stretches]
        later = np.unique(np.concatenate([chosen, *following]))
        before: Seqs = self.fact("before", later)
        later, before = later[is_one := self.is_live[later] & (before > 0)], before[is_one]
        for each in stretches:
            earlier, asked = each.columns.having(before)
            is_live = self.is_live[earlier + each.start]
            yield Successions(earlier[is_live] + each.start, later[asked[is_live]])
