"""Texts as they are stored, compared and counted."""

import hashlib
import json
from collections.abc import Iterable

from backends.messages import JsonObject, MemoryDraft
from backends.text import well_formed

_BYTES_PER_TOKEN = 4

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def to_json(value: object) -> str:
    """Give compact JSON, the same for equal values."""
    return well_formed(_JSON.encode(value))


def to_json_object(text: str) -> JsonObject:
    """Read back what `to_json` made of an object."""
    value: dict[str, object] = json.loads(text)
    return value


def digest_of(draft: MemoryDraft) -> bytes:
    """Give the hash by which the same memory is known."""
    data = None if draft.data is None else to_json(draft.data)
    return content_hash(draft.content, draft.kind, data)


def content_hash(content: str, kind: str, data: str | None) -> bytes:
    """Give the hash by which equal memories are known, and damaged ones."""
    return _hash((content, kind, data or ""))


def once_key(draft: MemoryDraft) -> str | None:
    """Give a draft's idempotency key, apart from the same key of others in a shared partition."""
    if draft.idempotency_key is None:
        return None
    return to_json([draft.source.get("agent"), draft.idempotency_key])


def draft_digest(draft: MemoryDraft, namespace: str) -> bytes:
    """Give the digest of what an idempotency key stands for.

    Source and expiry are left out: a repeated call has another request id and a later clock.
    """
    parts = [draft.content, draft.kind, draft.tags, draft.data, draft.replaces, draft.links]
    return _hash((namespace, to_json(parts)))


def count_tokens(text: str) -> int:
    """Estimate the tokens of a text, from above for most models and languages."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def _hash(parts: Iterable[str]) -> bytes:
    return hashlib.sha256("\0".join(f"{len(part)}:{part}" for part in parts).encode()).digest()
