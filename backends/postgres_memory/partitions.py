"""The one place where a caller's reach becomes SQL: no other statement finds memories by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from backends.messages import Reach
from backends.postgres_memory.connections import Connection
from backends.postgres_memory.texts import storable


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """What a call may touch.

    Attributes:
        spaces: Numbers of the partitions.
        namespaces: Numbers of their namespaces within reach.
        now: Unix seconds.
        current: Memories in these namespaces that were not replaced.
        words: Words in them.
        has_graph: Some of them may have a graph, see `graphs`.
    """

    spaces: list[int]
    namespaces: list[int]
    now: float
    current: int
    words: int
    has_graph: bool = True

    @property
    def values(self) -> dict[str, object]:
        """The values that the condition `WITHIN` needs."""
        return {"spaces": self.spaces, "namespaces": self.namespaces, "now": self.now}


WITHIN = "e.namespace = ANY(%(namespaces)s) AND (e.expires IS NULL OR e.expires > %(now)s)"
"""The condition that row `e`, a memory or an entry, is within reach and has not expired."""

FILTERS = """
(cardinality(%(kinds)s::text[]) = 0 OR e.kind = ANY(%(kinds)s)) AND e.tags @> %(tags)s::text[]
AND (%(since)s::double precision IS NULL OR e.created >= %(since)s)
AND (%(until)s::double precision IS NULL OR e.created < %(until)s)
AND (%(session)s::text IS NULL OR e.session = %(session)s)
AND (cardinality(%(labels)s::bigint[]) = 0 OR e.words && %(labels)s)
"""
"""The condition that entry `e` passes a query's filters; the last one is what has an index."""


def find_space(connection: Connection, owner: str) -> int | None:
    """Give the number of an owner's partition, if it has one."""
    row = connection.execute("SELECT no FROM space WHERE owner = %s", (storable(owner),)).fetchone()
    return None if row is None else int(row[0])


def find_within(connection: Connection, reach: Sequence[Reach], now: float) -> Within:
    """Give what is within reach and holds anything."""
    owners, exact, stems = list[str](), list[str](), list[str]()
    for each in reach:
        for pattern in map(storable, each.patterns):
            is_stem = pattern.endswith("/*")
            owners.append(storable(each.owner))
            exact.append(pattern[:-2] if is_stem else pattern)
            stems.append(pattern[:-1] if is_stem else "")
    rows = connection.execute(_FIND, (owners, exact, stems)).fetchall()
    return Within(
        spaces=sorted({row[0] for row in rows}),
        namespaces=[row[1] for row in rows],
        now=now,
        current=sum(row[2] for row in rows),
        words=sum(row[3] for row in rows),
        has_graph=any(row[4] for row in rows),
    )


_FIND = """
SELECT DISTINCT n.space, n.no, n.current, n.words,
    EXISTS (SELECT 1 FROM graph WHERE graph.namespace = n.no)
FROM unnest(%s::text[], %s::text[], %s::text[]) AS asked(owner, exact, stem)
JOIN space s ON s.owner = asked.owner
JOIN namespace n ON n.space = s.no
    AND (n.name = asked.exact OR (asked.stem <> '' AND starts_with(n.name, asked.stem)))
ORDER BY n.no
"""
