"""What happens to a memory that is added again."""

from typing import NamedTuple

import apsw

from backends.database import fetch_one
from backends.memory_store.additions import Addition
from backends.memory_store.blocks import read_blocks, read_parts, to_sketches
from backends.memory_store.entries import describe, enter, leave
from backends.memory_store.schema import SEQ_BITS
from backends.memory_store.texts import to_json
from backends.memory_store.vectors import Stored


class _Vector(NamedTuple):
    """A vector, and the number of what made it; None is still to be made."""

    embedder: int
    stored: Stored | None


def renew(connection: apsw.Connection, memory: int, addition: Addition, embedder: int) -> None:
    """Let a memory that is added again have the tags of both, and the later end.

    Args:
        connection: In the transaction of the addition.
        memory: Its number.
        addition: What says the same.
        embedder: Number of what made the addition's vector.
    """
    draft, old = addition.draft, describe(connection, memory)
    assert old is not None
    new = old._replace(tags=sorted({*old.tags, *draft.tags}))
    if old.expires is not None and (draft.expires is None or draft.expires > old.expires):
        new = new._replace(expires=draft.expires)
    if new == old:
        return
    connection.execute(
        "UPDATE memory SET size = size - octet_length(tags) + octet_length(?1), tags = ?1,"
        " expires = ?2 WHERE id = ?3",
        (to_json(new.tags), new.expires, memory),
    )
    vector = _Vector(embedder, addition.vector)
    if addition.vector is None or old.content != draft.content:
        vector = _vector_of(connection, memory)
    leave(connection, memory >> SEQ_BITS, [memory])
    enter(connection, new, *vector)


def _vector_of(connection: apsw.Connection, memory: int) -> _Vector:
    """Give the vector of a memory whose entry stands alone, or in a block."""
    row = fetch_one(
        connection, "SELECT embedder, components, sketch FROM entry WHERE id = ?", (memory,)
    )
    if row is not None:
        return _Vector(row[0], Stored(*row[1:]) if row[0] else None)
    space, seq = memory >> SEQ_BITS, memory & (1 << SEQ_BITS) - 1
    where = "space = ? AND first <= ? AND last >= ? AND embedder > 0"
    for block in read_blocks(connection, where, (space, seq, seq)):
        for position in (block.is_live & (block.facts["seq"] == seq)).nonzero()[0]:
            [(_, sketches)] = read_parts(connection, [block.sketches_part])
            row = fetch_one(connection, "SELECT components FROM vector WHERE id = ?", (memory,))
            sketch = to_sketches(sketches, len(block.facts))[:, position].tobytes()
            return _Vector(block.embedder, Stored(b"" if row is None else row[0], sketch))
    return _Vector(0, None)
