"""A memory store in plain dictionaries that passes the contract tests; a hit shares a word."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import anyio.lowlevel

from backends.errors import IdempotencyConflictError, MemoryNotFoundError, StoreFullError
from backends.messages import (
    Added,
    Hit,
    MemoryCounts,
    MemoryDraft,
    MemoryQuery,
    Place,
    Reach,
    Selection,
)

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    id: str
    place: Place
    draft: MemoryDraft
    created: float
    replaced_by: str | None = None


class ListMemories:
    """Memories of this process. It forgets everything at its end."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        new_id: Callable[[], str],
        quota: Callable[[str], tuple[int, int]] = lambda _: (1_000_000, 1_000_000_000),
    ) -> None:
        self._now = now
        self._new_id = new_id
        self._quota = quota
        self._memories: dict[Key, _Memory] = {}
        self._once: dict[tuple[str, str, str], tuple[MemoryDraft, Added]] = {}

    async def add(self, draft: MemoryDraft, place: Place, /) -> Added:
        """Store a memory."""
        await anyio.lowlevel.checkpoint()
        key = (place.owner, str(draft.source.get("agent")), draft.idempotency_key or "")
        if draft.idempotency_key is not None and key in self._once:
            before, added = self._once[key]
            if _body(before) != _body(draft):
                raise IdempotencyConflictError("the idempotency key was used for another memory")
            return Added(added.id, deduplicated=True, replaced=added.replaced)
        for _, target in draft.links:
            self._live(place.owner, target)
        added = self._add(draft, place)
        if draft.idempotency_key is not None:
            self._once[key] = (draft, added)
        return added

    async def search(self, query: MemoryQuery, reach: Sequence[Reach], /) -> tuple[Hit, ...]:
        """Find memories that share words with the query, the most first."""
        await anyio.lowlevel.checkpoint()
        within = [each for each in self._memories.values() if self._is_live(each)]
        within = [each for each in within if _reaches(reach, each.place)]
        if query.id is not None:
            for each in within:
                if each.id == query.id:
                    return (_hit(each, 1.0),)
            raise MemoryNotFoundError(f"there is no memory {query.id!r}")
        wanted = _words(query.text or "")
        hits = [
            _hit(each, len(shared) / len(wanted))
            for each in within
            if (shared := wanted & _words(each.draft.content)) and _passes(each, query)
        ]
        hits.sort(key=lambda hit: hit.score, reverse=True)
        return _pack(hits[: query.k], query.max_tokens)

    async def forget(self, selection: Selection, reach: Sequence[Reach], reason: str, /) -> int:
        """Delete memories and their older versions."""
        await anyio.lowlevel.checkpoint()
        del reason
        if selection == Selection():
            return 0
        query = MemoryQuery(kinds=selection.kinds, tags=selection.tags, until=selection.until)
        chosen = [
            each
            for each in self._memories.values()
            if _reaches(reach, each.place)
            and not self._is_expired(each)
            and (each.id in selection.ids if selection.ids else each.replaced_by is None)
            and _passes(each, query)
        ]
        for each in chosen:
            self._erase(each)
        return len(chosen)

    async def count(self, owner: str, /) -> MemoryCounts:
        """Count what one partition holds, older versions included."""
        await anyio.lowlevel.checkpoint()
        held = [
            each
            for each in self._memories.values()
            if each.place.owner == owner and not self._is_expired(each)
        ]
        return MemoryCounts(rows=len(held), size_bytes=sum(map(_size, held)))

    def _add(self, draft: MemoryDraft, place: Place) -> Added:
        memory = _Memory(id=self._new_id(), place=place, draft=draft, created=self._now())
        if draft.replaces is None:
            for each in self._memories.values():
                if self._is_live(each) and each.place == place and _is_same(each.draft, draft):
                    renewed = replace(each, draft=_renewed(each.draft, draft))
                    self._memories[place.owner, each.id] = renewed
                    return Added(each.id, deduplicated=True)
            self._insert(memory)
            return Added(memory.id)
        old = self._live(place.owner, draft.replaces)
        if old.place != place:
            raise MemoryNotFoundError(f"there is no memory {draft.replaces!r} to replace")
        self._insert(memory)
        self._memories[place.owner, old.id] = replace(old, replaced_by=memory.id)
        return Added(memory.id, replaced=old.id)

    def _insert(self, memory: _Memory) -> None:
        owner = memory.place.owner
        held = [
            each
            for each in self._memories.values()
            if each.place.owner == owner and not self._is_expired(each)
        ]
        max_rows, max_bytes = self._quota(owner)
        if len(held) >= max_rows:
            raise StoreFullError(f"all {max_rows} rows of this memory are taken")
        if sum(map(_size, [*held, memory])) > max_bytes:
            raise StoreFullError(f"this memory may hold {max_bytes} bytes")
        self._memories[owner, memory.id] = memory

    def _live(self, owner: str, memory: str) -> _Memory:
        found = self._memories.get((owner, memory))
        if found is None or not self._is_live(found):
            raise MemoryNotFoundError(f"there is no memory {memory!r}")
        return found

    def _is_live(self, memory: _Memory) -> bool:
        return memory.replaced_by is None and not self._is_expired(memory)

    def _is_expired(self, memory: _Memory) -> bool:
        return memory.draft.expires is not None and memory.draft.expires <= self._now()

    def _erase(self, memory: _Memory) -> None:
        self._memories.pop((memory.place.owner, memory.id), None)
        older = [
            each
            for each in self._memories.values()
            if each.place.owner == memory.place.owner and each.replaced_by == memory.id
        ]
        for each in older:
            self._erase(each)


def _reaches(reach: Sequence[Reach], place: Place) -> bool:
    return any(
        each.owner == place.owner and any(_covers(name, place.namespace) for name in each.patterns)
        for each in reach
    )


def _covers(pattern: str, namespace: str) -> bool:
    if not pattern.endswith("/*"):
        return pattern == namespace
    return namespace == pattern[:-2] or namespace.startswith(pattern[:-1])


def _passes(memory: _Memory, query: MemoryQuery) -> bool:
    draft = memory.draft
    return (
        (not query.kinds or draft.kind in query.kinds)
        and set(query.tags) <= set(draft.tags)
        and (query.since is None or memory.created >= query.since)
        and (query.until is None or memory.created < query.until)
    )


def _is_same(one: MemoryDraft, other: MemoryDraft) -> bool:
    return (one.content, one.kind, one.data) == (other.content, other.kind, other.data)


def _renewed(old: MemoryDraft, new: MemoryDraft) -> MemoryDraft:
    ends = (old.expires, new.expires)
    expires = None if None in ends else max(end for end in ends if end is not None)
    return replace(old, tags=tuple(sorted({*old.tags, *new.tags})), expires=expires)


def _body(draft: MemoryDraft) -> MemoryDraft:
    return replace(draft, source={}, expires=None)


def _size(memory: _Memory) -> int:
    return len(memory.draft.content.encode(errors="replace"))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _hit(memory: _Memory, score: float) -> Hit:
    draft = memory.draft
    return Hit(
        id=memory.id,
        content=draft.content,
        score=score,
        kind=draft.kind,
        tags=tuple(sorted(set(draft.tags))),
        namespace=memory.place.namespace,
        created=memory.created,
        data=draft.data,
        source=draft.source,
    )


def _pack(hits: Sequence[Hit], max_tokens: int | None) -> tuple[Hit, ...]:
    if max_tokens is None:
        return tuple(hits)
    kept: list[Hit] = []
    for hit in hits:
        tokens = -(-len(hit.content.encode(errors="replace")) // 4)
        if tokens <= max_tokens:
            max_tokens -= tokens
            kept.append(hit)
    return tuple(kept)
