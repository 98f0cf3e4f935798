"""Adding the memories of several callers in one transaction, in few statements.

Each statement may wait for the interpreter's lock, so what is the same for all is asked and written
at once. Where more hangs on an addition it is added by itself.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import apsw

from backends.database import fetch, insert
from backends.errors import StoreFullError
from backends.memory_store.adding import add
from backends.memory_store.additions import Addition, Row, described, memory_row
from backends.memory_store.entries import (
    LOOK_EVERY,
    Described,
    Entering,
    Said,
    entries_of,
    is_said_after,
    pack,
)
from backends.memory_store.room import check_room
from backends.memory_store.schema import SEQ_BITS
from backends.memory_store.texts import digest_of
from backends.messages import Added


def add_all(connection: apsw.Connection, additions: Sequence[Addition]) -> list[Added | Exception]:
    """Store memories; gives for each what became of it."""
    digests = [digest_of(each.draft) for each in additions]
    found = _find(connection, additions, digests)
    seen, alone = set[object](), set[str]()
    for number, (addition, digest) in enumerate(zip(additions, digests, strict=True)):
        key = (addition.place, addition.draft.session, digest)
        if number not in found or key in seen or not _is_plain(addition):
            alone.add(addition.place.owner)
        seen.add(key)
    together = _Together(connection)
    outcomes = list[Added | Exception]()
    for number, (addition, digest) in enumerate(zip(additions, digests, strict=True)):
        if addition.place.owner in alone:
            outcomes.append(add(connection, addition))
        else:
            outcomes.append(together.put(addition, digest, found[number]))
    together.write()
    return outcomes


def _is_plain(addition: Addition) -> bool:
    draft = addition.draft
    return not (draft.replaces or draft.links or draft.fold or draft.idempotency_key is not None)


class _Found(NamedTuple):
    """A partition as an addition finds it, and the memory that was added to it last."""

    last: Said
    space: int
    next_seq: int
    rows: int
    size_bytes: int
    namespace: int
    embedder: int
    last_in_session: int


def _find(
    connection: apsw.Connection, additions: Sequence[Addition], digests: Sequence[bytes]
) -> dict[int, _Found]:
    """Give what the additions find where all is there that they need, and not they themselves."""
    given = [
        (
            each.place.owner,
            each.place.namespace,
            each.embedder,
            each.draft.session,
            digest.hex(),
            each.now,
        )
        for each, digest in zip(additions, digests, strict=True)
    ]
    rows = fetch(connection, _FOUND, (json.dumps(given),))
    return {row[0]: _Found(Said(*row[8:]), *row[1:8]) for row in rows}


@dataclass(slots=True)
class _Growing:
    """A partition as it becomes while memories are put to it."""

    space: int
    next_seq: int
    rows: int
    size_bytes: int
    last: Said | Described
    sessions: dict[tuple[int, str], int] = field(default_factory=dict[tuple[int, str], int])


class _Together:
    """Memories that are written at once."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._growing: dict[int, _Growing] = {}
        self._rows: list[Row] = []
        self._entering: list[Entering] = []

    def put(self, addition: Addition, digest: bytes, found: _Found) -> Added | Exception:
        """Take one more, if there is room for it."""
        growing = self._growing.setdefault(
            found.space,
            _Growing(found.space, found.next_seq, found.rows, found.size_bytes, found.last),
        )
        memory = growing.space << SEQ_BITS | growing.next_seq
        row = memory_row(addition, memory, found.namespace, digest)
        try:
            check_room(addition, rows=growing.rows, size_bytes=growing.size_bytes + row.size)
        except StoreFullError as exc:
            return exc
        entered = described(addition, memory, found.namespace)
        before = _said_before(growing, found, entered)
        self._rows.append(row)
        self._entering.append(
            Entering(entered, before & (1 << SEQ_BITS) - 1, found.embedder, addition.vector)
        )
        growing.next_seq += 1
        growing.rows += 1
        growing.size_bytes += row.size
        growing.last = entered
        if entered.session:
            growing.sessions[entered.namespace, entered.session] = memory
        return Added(addition.id)

    def write(self) -> None:
        """Write them all, and pack the entries of partitions that have grown."""
        insert(self._connection, "memory", self._rows)
        insert(self._connection, "entry", entries_of(self._connection, self._entering))
        for space in {row.id >> SEQ_BITS for row in self._rows if row.id % LOOK_EVERY == 0}:
            pack(self._connection, space)


def _said_before(growing: _Growing, found: _Found, entered: Described) -> int:
    """Give what `said_before` would, had all been written one after the other."""
    if entered.session:
        place = entered.namespace, entered.session
        return growing.sessions.get(place, found.last_in_session)
    return growing.last.id if is_said_after(entered, growing.last) else 0


_FOUND = """
WITH given(number, owner, name, embedder, session, hash, now) AS (
    SELECT key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4), value ->> 5
    FROM json_each(?)
)
SELECT number, s.no, next_seq, rows, bytes, n.no, e.no,
    coalesce((SELECT max(id) FROM memory
              WHERE namespace = n.no AND session = given.session AND session <> ''), 0),
    coalesce(m.id, 0), coalesce(m.namespace, 0), m.session, m.source ->> 'agent',
    coalesce(m.created, 0)
FROM given
CROSS JOIN space s ON s.owner = given.owner
CROSS JOIN (SELECT no, space, name FROM namespace) n ON n.space = s.no AND n.name = given.name
CROSS JOIN embedder e ON e.name = given.embedder
LEFT JOIN memory m ON m.id = (
    SELECT id FROM memory
    WHERE id BETWEEN s.no << 32 AND (s.no << 32) + 4294967295 ORDER BY id DESC LIMIT 1)
WHERE NOT EXISTS (SELECT 1 FROM memory WHERE id >> 32 = s.no AND expires <= given.now)
AND NOT EXISTS (
    SELECT 1 FROM memory WHERE namespace = n.no AND hash = given.hash
    AND session = given.session AND replaced_by IS NULL)
"""
