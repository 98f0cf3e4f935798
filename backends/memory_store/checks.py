"""What can be checked of the memories beyond SQLite's own integrity check."""

import apsw

from backends.database import fetch
from backends.memory_store.texts import content_hash


def check_memories(connection: apsw.Connection) -> list[str]:
    """Compare memories with their hashes, entries and counts; gives what does not fit."""
    return [
        *_damaged(connection),
        *_strays(connection),
        *_miscounted(connection),
    ]


def _damaged(connection: apsw.Connection) -> list[str]:
    rows = connection.execute("SELECT public, content, kind, data, hash FROM memory")
    return [
        f"memory {public!r}: its content is not what was stored"
        for public, content, kind, data, stored in rows
        if content_hash(str(content), str(kind), data and str(data)) != stored
    ]


def _strays(connection: apsw.Connection) -> list[str]:
    rows = fetch(
        connection,
        "SELECT public FROM memory LEFT JOIN entry USING (id)"
        " WHERE (replaced_by IS NULL) <> (entry.id IS NOT NULL)"
        " OR (memory.namespace <> entry.namespace) OR (memory.kind <> entry.kind)",
    )
    return [f"memory {public!r}: searches do not see it as it is" for (public,) in rows]


def _miscounted(connection: apsw.Connection) -> list[str]:
    rows = fetch(
        connection,
        "SELECT owner FROM space LEFT JOIN (SELECT id >> 32 AS no, count(*) AS found, sum(size) AS"
        " size FROM memory GROUP BY 1) USING (no)"
        " WHERE rows <> coalesce(found, 0) OR bytes <> coalesce(size, 0)",
    )
    return [f"memories of {owner or 'the shared partition'!r} are miscounted" for (owner,) in rows]
