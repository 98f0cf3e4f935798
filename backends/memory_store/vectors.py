"""Vectors as they are stored: eight bits a component, and a sketch of one bit a component."""

from typing import NamedTuple

import apsw
import numpy as np
from numpy.typing import NDArray


class Stored(NamedTuple):
    """A quantised vector.

    Attributes:
        components: One int8 each, scaled by the largest of them, since only angles are compared;
            empty for a vector without direction.
        sketch: Their signs. Counting the ones that differ is several times faster than comparing
            vectors, and good enough to choose what to compare.
    """

    components: bytes
    sketch: bytes


def quantise(vector: NDArray[np.float32]) -> Stored:
    """Give a vector as it is stored."""
    sketch = np.packbits(vector > 0, bitorder="little").tobytes()
    largest = float(np.abs(vector).max(initial=0.0))
    if not 0.0 < largest < np.inf:
        return Stored(b"", sketch)
    components: NDArray[np.int8] = np.rint(vector * (127 / largest)).astype(np.int8)
    return Stored(components.tobytes(), sketch)


def set_vector(connection: apsw.Connection, memory: int, vector: Stored | None) -> None:
    """Write the components of a memory's vector, in place of those it had."""
    if vector is None or not vector.components:
        connection.execute("DELETE FROM vector WHERE id = ?", (memory,))
        return
    connection.execute(
        "INSERT INTO vector VALUES(?1, ?2) ON CONFLICT(id) DO UPDATE SET components = ?2",
        (memory, vector.components),
    )
