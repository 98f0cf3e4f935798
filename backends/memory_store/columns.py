"""The facts of many entries of one partition, and what saves a search from looking at each."""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backends.memory_store.blocks import Facts

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]
Seqs = NDArray[np.uint32]


NO_EMBEDDER = -1


Run: TypeAlias = tuple[int, int, NDArray[np.integer]]
"""A word, and some who hold it: what their positions are counted from, and these."""


class Found(NamedTuple):
    """Entries that were looked for, and for each which of the numbers asked for it has."""

    positions: Positions
    asked: Positions


def union(size: int, *several: Positions) -> Positions:
    """Give the positions that any has, in order, each below `size`."""
    mask = np.zeros(size, np.bool_)
    for each in several:
        mask[each] = True
    return mask.nonzero()[0]


class _Lookup:
    """Which entries have a number: none, one or several."""

    def __init__(self, numbers: Seqs, positions: Positions) -> None:
        order = np.argsort(numbers, kind="stable")
        self._numbers, self._positions = numbers[order], positions[order]
        self.size_bytes = self._numbers.nbytes + self._positions.nbytes

    def find(self, numbers: Seqs) -> Found:
        first = self._numbers.searchsorted(numbers)
        counts = self._numbers.searchsorted(numbers, side="right") - first
        asked = np.repeat(np.arange(len(numbers)), counts)
        step = np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts)
        return Found(self._positions[first[asked] + step], asked)


class Columns:
    """Facts, one record for each entry.

    Attributes:
        facts: The records.
        words: Their lengths together.
        followers: How many were said right after another.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        # Reduced by what the methods of arrays call in the end: there are few entries, often.
        self.words = int(np.add.reduce(facts["length"]))
        self._soonest_end: float = np.minimum.reduce(facts["expires"], initial=np.inf)
        namespaces = facts["namespace"]
        self._is_of_one = bool(np.logical_and.reduce(namespaces == namespaces[:1]))
        self.followers = np.count_nonzero(facts["before"])
        self._by_before: _Lookup | None = None  # the two are made when they are needed
        self._by_seq: _Lookup | None = None

    @property
    def size_bytes(self) -> int:
        """What they take in memory."""
        lookups = (self._by_before, self._by_seq)
        return self.facts.nbytes + sum(each.size_bytes for each in lookups if each is not None)

    def within(self, namespaces: tuple[int, ...], now: float) -> Mask | None:
        """Give which are of some namespaces and have not expired; None where all are."""
        mask = None if self._soonest_end > now else self.facts["expires"] > now
        own = self.facts["namespace"]
        if self._is_of_one and len(own) and own[0] in namespaces:
            return mask
        is_of_them = np.isin(own, namespaces)
        return is_of_them if mask is None else mask & is_of_them

    def following(self, seqs: Seqs) -> Positions:
        """Give the entries that were said right after those with some seqs."""
        if self._by_before is None:
            before = self.facts["before"]
            followers = before.nonzero()[0]
            self._by_before = _Lookup(before[followers], followers)
        return self._by_before.find(seqs).positions

    def having(self, seqs: Seqs) -> Found:
        """Give the entries that have some seqs, the gone ones included."""
        if self._by_seq is None:
            self._by_seq = _Lookup(self.facts["seq"], np.arange(len(self.facts)))
        return self._by_seq.find(seqs)
