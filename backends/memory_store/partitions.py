"""The one place where a caller's reach becomes SQL: no other statement finds memories by itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import apsw

from backends.database import Value, fetch, fetch_one
from backends.memory_store.schema import SEQ_BITS
from backends.messages import Reach
from backends.text import well_formed

_MOST_LISTED = 32  # a longer list is looked up faster than compared


class Clause(NamedTuple):
    """A condition and the values of its question marks."""

    sql: str
    bindings: tuple[Value, ...]

    def and_also(self, sql: str, *bindings: Value) -> "Clause":
        """Give the condition that both hold."""
        return Clause(f"{self.sql} AND {sql}", self.bindings + bindings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The part of one owner's memories that a call may touch.

    Attributes:
        space: Number of the owner's partition.
        namespaces: Numbers of its namespaces within reach, at least one.
    """

    space: int
    namespaces: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, int]:
        """The first and the last id that can belong to it."""
        return self.space << SEQ_BITS, (self.space + 1 << SEQ_BITS) - 1

    def within(self, now: float) -> Clause:
        """Give the condition that row `e` of the memories is within reach and lives."""
        clause = Clause(
            "e.id BETWEEN ? AND ? AND (e.expires IS NULL OR e.expires > ?)", (*self.ids, now)
        )
        if len(self.namespaces) > _MOST_LISTED:
            listed = json.dumps(self.namespaces)
            return clause.and_also("+e.namespace IN (SELECT value FROM json_each(?))", listed)
        marks = ", ".join("?" * len(self.namespaces))
        return clause.and_also(f"+e.namespace IN ({marks})", *self.namespaces)


def find_space(connection: apsw.Connection, owner: str) -> int | None:
    """Give the number of an owner's partition, if it has one."""
    row = fetch_one(connection, "SELECT no FROM space WHERE owner = ?", (well_formed(owner),))
    return None if row is None else int(row[0])


def find_partitions(connection: apsw.Connection, reach: Sequence[Reach]) -> list[Partition]:
    """Give the partitions within reach that hold anything."""
    patterns: dict[str, list[str]] = {}
    for each in reach:
        patterns.setdefault(each.owner, []).extend(map(well_formed, each.patterns))
    found = [_find(connection, owner, names) for owner, names in patterns.items() if names]
    return [partition for partition in found if partition is not None]


def _find(connection: apsw.Connection, owner: str, patterns: Sequence[str]) -> Partition | None:
    space = find_space(connection, owner)
    if space is None:
        return None
    matching = [_matching(pattern) for pattern in patterns]
    rows = fetch(
        connection,
        "SELECT no FROM namespace WHERE space = ? AND ("
        + " OR ".join(clause.sql for clause in matching)
        + ")",
        (space, *(value for clause in matching for value in clause.bindings)),
    )
    if not rows:
        return None
    return Partition(space=space, namespaces=tuple(row[0] for row in rows))


def _matching(pattern: str) -> Clause:
    if not pattern.endswith("/*"):
        return Clause("name = ?", (pattern,))
    stem = pattern[:-2]
    # "0" is the character after "/": all names between the two stand below the stem.
    return Clause("(name = ? OR name > ? AND name < ?)", (stem, stem + "/", stem + "0"))
