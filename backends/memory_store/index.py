"""The entries within a search's reach, as columns of numbers.

Positions count over all partitions together, and are asked for in order. What is out of reach, has
left or has expired has a position too but never counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import apsw
import numpy as np
from numpy.typing import NDArray

from backends.memory_store.blocks import FACTS
from backends.memory_store.columns import (
    NO_EMBEDDER,
    Columns,
    Mask,
    Positions,
    Seqs,
    union,
)
from backends.memory_store.loose import Loose, read_loose
from backends.memory_store.packed import Kept, Packed, live_of, read_heads
from backends.memory_store.partitions import Partition
from backends.memory_store.schema import SEQ_BITS
from backends.memory_store.vectors import Probe, Sketches
from backends.memory_store.words import label_hash
from backends.messages import MemoryQuery
from backends.text import well_formed

_NO_ID = -1
_NOBODY = np.empty(0, np.int64)


def filter_words(query: MemoryQuery) -> list[list[int]]:
    """Give the labels that a query asks for: one of each list."""
    wanted = [[label_hash("tag", well_formed(tag))] for tag in query.tags]
    if query.kinds:
        wanted.append([label_hash("kind", well_formed(kind)) for kind in query.kinds])
    if query.session is not None:
        wanted.append([label_hash("session", query.session)])
    return wanted


class Costs(NamedTuple):
    """How far the vectors of some entries are; only the order of costs counts."""

    positions: Positions
    costs: NDArray[np.uint16]


class Successions(NamedTuple):
    """Pairs of entries of which one was said right after the other, and how near they are."""

    earlier: Positions
    later: Positions
    nearness: NDArray[np.float32]


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
    source: Packed | Loose

    @property
    def columns(self) -> Columns:
        """What is known of each."""
        return self.source.columns

    def ids(self, own: Positions) -> NDArray[np.int64]:
        """Give the ids of some, by their positions from the start."""
        seqs: Seqs = self.source.columns.facts["seq"][own]
        return seqs | np.int64(self.space << SEQ_BITS)


class Index:
    """What a search may look at.

    Attributes:
        size: Entries, the living and the others.
        is_live: They are within reach, have not left and have not expired.
        live: How many these are.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        partitions: Sequence[Partition],
        now: float,
        kept: Kept | None = None,
        *,
        words: Iterable[int] = (),
        embedder: int = NO_EMBEDDER,
    ) -> None:
        """Read what every search needs, and at once what is known to be needed besides.

        Args:
            connection: Of which a consistent state is seen.
            partitions: Within reach.
            now: Unix seconds.
            kept: What other searches have read. None where the connection may see what is not
                committed, since that may never come to be.
            words: Who holds them is going to be asked.
            embedder: How far its vectors are is going to be asked.
        """
        self._connection = connection
        self._kept = kept
        self._stretches: list[_Stretch] = []
        self._held: dict[int, Positions] = {}
        self.size = 0
        words = sorted({*words})
        masks: list[tuple[int, Mask]] = []
        for partition in partitions:
            for source, live in self._sources(partition, words, embedder):
                start, self.size = self.size, self.size + len(source.columns.facts)
                self._stretches.append(_Stretch(partition.space, start, self.size, source))
                within = source.columns.within(partition.namespaces, now)
                masks += [(start, each) for each in (live, within) if each is not None]
        self.is_live: Mask = np.ones(self.size, np.bool_)
        for start, mask in masks:
            self.is_live[start : start + len(mask)] &= mask
        self._is_all_live = not masks
        self.live = int(np.count_nonzero(self.is_live))
        self._starts = np.array([each.start for each in self._stretches[1:]], np.int64)
        self._find(words)

    def _sources(
        self, partition: Partition, words: Sequence[int], embedder: int
    ) -> Iterator[tuple[Packed | Loose, Mask | None]]:
        if heads := read_heads(self._connection, partition.space):
            packed = self._kept.get(partition.space, heads) if self._kept else None
            if packed is None:
                packed = Packed(self._connection, heads, words, embedder)
            else:
                packed.look_up(self._connection, words, embedder)
            yield packed, live_of(heads)
        for loose in read_loose(self._connection, partition):
            yield loose, None

    def keep(self) -> None:
        """Leave what was read to later searches."""
        for stretch in self._stretches:
            if self._kept and isinstance(stretch.source, Packed):
                self._kept.put(stretch.space, stretch.source)

    def look_up(self, words: Iterable[int]) -> None:
        """Read what is needed for `holding` of these words, all at once."""
        unknown = sorted({*words} - self._held.keys())
        if not unknown:
            return
        for stretch in self._stretches:
            if isinstance(stretch.source, Packed):
                stretch.source.look_up(self._connection, unknown)
        self._find(unknown)

    def _find(self, words: Sequence[int]) -> None:
        self._held.update(dict.fromkeys(words, _NOBODY))
        runs = [run for each in self._stretches for run in each.source.holding(words, each.start)]
        if not runs:
            return
        runs.sort(key=itemgetter(0))
        own, starts, several = zip(*runs, strict=True)
        lengths = np.array(list(map(len, several)))
        positions = np.concatenate(several) + np.repeat(np.array(starts), lengths)
        first = 0
        for word, end in dict(zip(own, np.cumsum(lengths).tolist(), strict=True)).items():
            self._held[word], first = positions[first:end], end

    def holding(self, word: int) -> Positions:
        """Give the living entries that hold a word that was looked up."""
        found = self._held[word]
        return found if self._is_all_live else found[self.is_live[found]]

    def passing(self, query: MemoryQuery) -> Mask:
        """Give who lives and passes the query's filters."""
        alternatives = filter_words(query)
        self.look_up(chain(*alternatives))
        mask = self.is_live
        for words in alternatives:
            holds = np.zeros(self.size, np.bool_)
            for word in words:
                holds[self._held[word]] = True
            mask = mask & holds
        if query.since is None and query.until is None:
            return mask
        mask = mask.copy()
        for stretch in self._stretches:
            created, own = stretch.columns.facts["created"], mask[stretch.start : stretch.end]
            if query.since is not None:
                own &= created >= query.since
            if query.until is not None:
                own &= created < query.until
        return mask

    def mean_length(self) -> float:
        """Give how many words the living have on average, at least one."""
        total = sum(
            each.columns.words
            if self._is_all_live
            else int(each.columns.facts["length"].sum(where=self.is_live[each.start : each.end]))
            for each in self._stretches
        )
        return max(1.0, total / max(1, self.live))

    def costs(self, components: bytes, embedder: int, among: Mask) -> Costs:
        """Estimate how far some entries' vectors are, of those that have one."""
        positions, several = [_NOBODY], list[Sketches]()
        for stretch in self._stretches:
            sketches = stretch.source.sketches(embedder)
            if sketches is None:
                continue
            first, _ = stretch.source.made_by(embedder)
            start, count = stretch.start + first, sketches.shape[1]
            chosen = among[start : start + count].nonzero()[0]
            positions.append(chosen + start)
            is_all = len(chosen) == count
            several.append(sketches if is_all else sketches.take(chosen, axis=1))
        found = Probe(components).costs(several) if several else np.empty(0, np.uint16)
        return Costs(np.concatenate(positions), found)

    def components(self, positions: Positions, size: int, embedder: int) -> NDArray[np.int8]:
        """Give vectors that an embedder made, shape `(n, size)`; zeros for one it did not make."""
        found = [b""]
        for stretch, own in self._apart(positions):
            first, end = stretch.source.made_by(embedder)
            ids = stretch.ids(own)
            ids[(own < first) | (own >= end)] = _NO_ID
            given = (size, apsw.carray(ids), size)
            row = self._connection.execute(stretch.source.components, given).fetchone()
            assert row is not None
            found.append(row[0])
        return np.frombuffer(b"".join(found), np.int8).reshape(-1, size)

    def fact(self, name: str, positions: Positions) -> NDArray[Any]:
        """Give one of the facts of some entries."""
        found = [np.empty(0, FACTS[name])]
        found += [stretch.columns.facts[name][own] for stretch, own in self._apart(positions)]
        return np.concatenate(found)

    def ids(self, positions: Positions) -> NDArray[np.int64]:
        """Give the ids of some entries' memories."""
        found = [stretch.ids(own) for stretch, own in self._apart(positions)]
        return np.concatenate([_NOBODY, *found])

    def _apart(self, positions: Positions) -> Iterator[tuple[_Stretch, Positions]]:
        cuts = [0, *positions.searchsorted(self._starts).tolist(), len(positions)]
        for stretch, (first, last) in zip(self._stretches, pairwise(cuts), strict=False):
            if first < last:
                yield stretch, positions[first:last] - stretch.start

    def successions(self, positions: Positions) -> list[Successions]:
        """Give who was said right before or after some entries, as pairs of the living."""
        found: list[Successions] = []
        for _, group in groupby(self._stretches, key=lambda each: each.space):
            stretches = list(group)
            if any(each.columns.followers for each in stretches):
                found += self._successions(stretches, positions)
        return found

    def _successions(
        self, stretches: Sequence[_Stretch], positions: Positions
    ) -> Iterator[Successions]:
        start, end = stretches[0].start, stretches[-1].end
        chosen = positions[(positions >= start) & (positions < end)]
        seqs: Seqs = self.fact("seq", chosen)
        following = [each.columns.following(seqs) + each.start for each in stretches]
        later = union(self.size, chosen, *following)
        before: Seqs = self.fact("before", later)
        later, before = later[is_one := self.is_live[later] & (before > 0)], before[is_one]
        nearness = self.fact("nearness", later)
        for each in stretches:
            earlier, asked = each.columns.having(before)
            is_live = self.is_live[earlier + each.start]
            earlier, asked = earlier[is_live], asked[is_live]
            yield Successions(earlier + each.start, later[asked], nearness[asked])
