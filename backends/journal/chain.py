"""The audit trail's hash chain: each record's hash covers the record and the hash before it."""

import hashlib
import json
from collections.abc import Sequence

import apsw

from backends.database import Value

COLUMNS = (
    "seq, phase, request_id, agent, op, target, digest, outcome, at, tokens, micro_usd, queue_ms,"
    " run_ms, place"
)
_FIRST = b"\0" * 32


def append(connection: apsw.Connection, values: Sequence[Value]) -> None:
    """Add a record; `values` are those of `COLUMNS` without `seq`."""
    last = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    seq, before = (1, _FIRST) if last is None else (int(last[0]) + 1, bytes(last[1]))
    record = (seq, *values)
    marks = ", ".join("?" * (len(record) + 1))
    connection.execute(
        f"INSERT INTO audit({COLUMNS}, hash) VALUES({marks})", (*record, _hash(record, before))
    )


def first_bad(connection: apsw.Connection) -> int | None:
    """Walk the chain; gives the number of the first record that does not fit, or None."""
    before, expected = _FIRST, 1
    for *record, found in connection.execute(f"SELECT {COLUMNS}, hash FROM audit ORDER BY seq"):
        if record[0] != expected or _hash(record, before) != found:
            return expected
        before, expected = bytes(found), expected + 1
    return None


def _hash(record: Sequence[Value], before: bytes) -> bytes:
    text = json.dumps(list(record), separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(before + text.encode()).digest()
