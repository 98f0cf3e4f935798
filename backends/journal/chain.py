"""The audit trail's hash chain: each record's hash covers the record and the hash before it."""

import hashlib
import json
from collections.abc import Sequence

import apsw

from backends.database import Value, fetch_one, insert

COLUMNS = (
    "seq, phase, request_id, agent, op, target, digest, outcome, at, tokens, micro_usd, queue_ms,"
    " run_ms, place"
)
_FIRST = b"\0" * 32
_SEPARATOR = ",\n"
_as_json = json.JSONEncoder(separators=(_SEPARATOR, ":")).encode


def append(connection: apsw.Connection, records: Sequence[Sequence[Value]]) -> None:
    """Add records; the values of each are those of `COLUMNS` without `seq`."""
    last = fetch_one(connection, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
    seq, before = last or (0, _FIRST)
    numbered = [(seq + number, *values) for number, values in enumerate(records, 1)]
    rows: list[Sequence[Value]] = []
    for record, text in zip(numbered, lists_as_json(numbered), strict=True):
        before = _hash(text, before)
        rows.append((*record, before))
    insert(connection, f"audit({COLUMNS}, hash)", rows)


def first_bad(connection: apsw.Connection) -> int | None:
    """Walk the chain; gives the number of the first record that does not fit, or None."""
    before, expected = _FIRST, 1
    for *record, found in connection.execute(f"SELECT {COLUMNS}, hash FROM audit ORDER BY seq"):
        [text] = lists_as_json([record])
        if record[0] != expected or _hash(text, before) != found:
            return expected
        before, expected = bytes(found), expected + 1
    return None


def lists_as_json(lists: Sequence[Sequence[object]]) -> list[str]:
    """Write each of some lists as JSON: together, since a call of the encoder is most of it.

    Args:
        lists: At least one; none holds another list.
    """
    # JSON has no line break within a string, so this separator is found between values only.
    text = _as_json(lists)[2:-2]
    return [f"[{each.replace(_SEPARATOR, ',')}]" for each in text.split(f"]{_SEPARATOR}[")]


def _hash(text: str, before: bytes) -> bytes:
    return hashlib.sha256(before + text.encode()).digest()
