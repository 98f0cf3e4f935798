"""The facts of many entries of one partition, and what saves a search from looking at each."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.memory_store.blocks import Facts

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]
Seqs = NDArray[np.uint32]


class Found(NamedTuple):
    """Entries that were looked for, and for each which of the numbers asked for it has."""

    positions: Positions
    asked: Positions


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
        self.words = int(facts["length"].sum())
        self._soonest_end: float = facts["expires"].min(initial=np.inf)
        namespaces = facts["namespace"]
        self._is_of_one = bool((namespaces == namespaces[:1]).all())
        followers = facts["before"].nonzero()[0]
        self.followers = len(followers)
        self._by_before = _Lookup(facts["before"][followers], followers)
        self._by_seq: _Lookup | None = None  # made when it is needed

    @property
    def size_bytes(self) -> int:
        """What they take in memory."""
        by_seq = 0 if self._by_seq is None else self._by_seq.size_bytes
        return self.facts.nbytes + self._by_before.size_bytes + by_seq

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
        return self._by_before.find(seqs).positions

    def having(self, seqs: Seqs) -> Found:
        """Give the entries that have some seqs, the gone ones included."""
        if self._by_seq is None:
            self._by_seq = _Lookup(self.facts["seq"], np.arange(len(self.facts)))
        return self._by_seq.find(seqs)
