"""Vectors as they are stored: eight bits a component, and a sketch of one bit a component.

Sketches choose which vectors are compared. A query keeps the sizes of its components: a sign that
differs costs as much as the query's component is large, in seven steps. That finds far more of the
nearest vectors than counting signs. Source: Gao and Long, RaBitQ: Quantizing High-Dimensional
Vectors with a Theoretical Error Bound for Approximate Nearest Neighbor Search, 2024, of which this
keeps the asymmetric estimate.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.protocols import Vectors

Sketches = NDArray[np.uint64]
"""Shape `(words, n)`: a column for each vector, 64 components a word."""

_SIZES = np.array([1, 2, 4], np.uint16)  # bits for the size of a component of the query
_LARGEST_SIZE = int(_SIZES.sum())
_AT_ONCE = 8192  # so many sketches, and what is worked out of them, stay in a core's cache
_LARGEST = 2.5  # in root mean squares; larger components count as this


class Stored(NamedTuple):
    """A quantised vector.

    Attributes:
        components: One int8 each, scaled by the largest of them, since only angles are compared;
            empty for a vector without direction.
        sketch: Their signs, in whole words of 64 bits.
    """

    components: bytes
    sketch: bytes


def quantise(vectors: Vectors) -> list[Stored]:
    """Give vectors, one in a row, as they are stored."""
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    has_direction = (largest > 0.0) & (largest < np.inf)
    scaled, where = np.zeros_like(vectors), has_direction[:, np.newaxis]
    np.divide(vectors, largest[:, np.newaxis], out=scaled, where=where)
    components = np.rint(scaled * 127).astype(np.int8)
    sketches = _bits(vectors > 0)
    return [
        Stored(own.tobytes() if is_kept else b"", sketch.tobytes())
        for own, sketch, is_kept in zip(components, sketches, has_direction, strict=True)
    ]


class Probe:
    """A query's vector, made ready to be held against many sketches."""

    def __init__(self, components: bytes) -> None:
        vector = np.frombuffer(components, np.int8).astype(np.float32)
        step = _LARGEST * np.sqrt((vector @ vector) / len(vector)) / _LARGEST_SIZE
        steps = np.minimum(np.rint(np.abs(vector) / step), _LARGEST_SIZE).astype(np.uint16)
        bits = np.concatenate(([vector > 0], steps & _SIZES[:, np.newaxis] != 0))
        words = _bits(bits).view(np.uint64)[..., np.newaxis]
        self._signs, self._planes = words[0], words[1:]

    def costs(self, several: Sequence[Sketches]) -> NDArray[np.uint16]:
        """Estimate how far the sketched vectors of all are, in turn; only their order counts."""
        if sum(each.shape[1] for each in several) <= _AT_ONCE:
            several = [np.concatenate(several, axis=1)]
        parts = [
            self._costs(each[:, start : start + _AT_ONCE])
            for each in several
            for start in range(0, each.shape[1], _AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.uint16)

    def _costs(self, sketches: Sketches) -> NDArray[np.uint16]:
        differ = (sketches ^ self._signs) & self._planes
        costs: NDArray[np.uint16] = np.einsum("p,pwn->n", _SIZES, np.bitwise_count(differ))
        return costs


def _bits(bits: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack the bits of each row in whole words of 64."""
    count = bits.shape[-1]
    packed = np.zeros((*bits.shape[:-1], -(-count // 64) * 8), np.uint8)
    packed[..., : -(-count // 8)] = np.packbits(bits, axis=-1, bitorder="little")
    return packed
