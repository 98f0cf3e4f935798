"""What a call asks of memories within its reach: conditions on row `e`, a memory or an entry."""

from collections.abc import Sequence

from backends.memory_store.partitions import Clause, Partition
from backends.text import well_formed


def matching(
    partitions: Sequence[Partition],
    *,
    kinds: Sequence[str] = (),
    tags: Sequence[str] = (),
    since: float | None = None,
    until: float | None = None,
) -> Clause:
    """Give the condition that all filters hold that are set."""
    clause = Clause("TRUE", ())
    if kinds:
        marks = ", ".join("?" * len(kinds))
        clause = clause.and_also(f"e.kind IN ({marks})", *map(well_formed, kinds))
    for tag in map(well_formed, tags):
        tagged = ["SELECT id FROM tag WHERE tag = ? AND id BETWEEN ? AND ?"] * len(partitions)
        bindings = [value for partition in partitions for value in (tag, *partition.ids)]
        clause = clause.and_also(f"e.id IN ({' UNION ALL '.join(tagged)})", *bindings)
    if since is not None:
        clause = clause.and_also("e.created >= ?", since)
    if until is not None:
        clause = clause.and_also("e.created < ?", until)
    return clause
