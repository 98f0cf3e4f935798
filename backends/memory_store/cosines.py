"""How alike memories' vectors are to a query's, each compared once."""

import numpy as np
from numpy.typing import NDArray

from backends.memory_store.columns import Positions
from backends.memory_store.index import Index

_OFFSET, _NO_VECTOR = 2.0, 1.0

Scores = NDArray[np.float64]


class Cosines:
    """Cosines of the vectors of an index."""

    def __init__(self, index: Index, components: bytes, embedder: int) -> None:
        """Keep what is compared.

        Args:
            index: With the memories.
            components: The query's vector; none of them compares nothing.
            embedder: Number of what made it; the vectors of others are not compared.
        """
        self._index = index
        self._embedder = embedder
        vector = np.frombuffer(components, np.int8).astype(np.float32)
        self._vector = vector / np.float32(np.sqrt(vector @ vector) or 1.0)
        # Zeros take no memory until they are written, and most never are; so they mean unknown, and
        # a cosine is kept as two more.
        self._known: Scores = np.zeros(index.size)

    def look_up(self, positions: Positions) -> None:
        """Compare what is needed for `of`, all at once."""
        unknown = positions[self._known[positions] == 0]
        if len(unknown):
            self._known[unknown] = self._compare(unknown)

    def of(self, positions: Positions) -> Scores:
        """Give cosines from 0 to 1; less than 0 where there is no vector or none was compared."""
        found: Scores = self._known[positions] - _OFFSET
        return found

    def _compare(self, positions: Positions) -> Scores:
        if not len(self._vector):
            return np.full(len(positions), _NO_VECTOR)
        vectors = self._index.components(positions, len(self._vector), self._embedder).astype(
            np.float32
        )
        # Row by row: a product with the whole matrix would wake threads that spin after it.
        sizes = np.sqrt(np.vecdot(vectors, vectors))
        alike = np.vecdot(vectors, self._vector) / np.maximum(sizes, 1.0)
        found: Scores = _OFFSET + np.minimum(np.maximum(alike, 0.0), 1.0)
        found[sizes == 0] = _NO_VECTOR
        return found
