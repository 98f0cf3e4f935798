"""A memory store in plain dictionaries that passes the contract tests; a hit shares a word."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import anyio.lowlevel

from backends.errors import IdempotencyConflictError, MemoryNotFoundError, StoreFullError
from backends.messages import (
    Added,
    Hit,
    MemoryCounts,
    MemoryDraft,
    MemoryQuery,
    MemoryRecord,
    Place,
    Reach,
    Selection,
)

Key = tuple[str, str]

_HALF_LIFE_SECONDS = 30 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    id: str
    place: Place
    draft: MemoryDraft
    created: float
    replaced_by: str | None = None
    reason: str | None = None


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
        known = {each.id: each for each in within}
        if query.id is not None:
            hits = self._versions(query.id, reach) if query.history else []
            if not hits and query.id in known:
                hits = [_only_known_links(_hit(known[query.id], 1.0), known)]
            if not hits:
                raise MemoryNotFoundError(f"there is no memory {query.id!r}")
            return (*hits, *_linked(hits[:1], known, query.links, most=1000))
        passing = [each for each in within if _passes(each, query)]
        hits = self._ranked(passing, query)
        if query.distinct:
            hits = _without_repeats(hits)
        hits = [_only_known_links(hit, known) for hit in hits]
        hits = _pack(hits[: query.k], query.max_tokens)
        return (*hits, *_linked(hits, known, query.links, most=query.k))

    async def forget(self, selection: Selection, reach: Sequence[Reach], reason: str, /) -> int:
        """Delete memories and their older versions."""
        await anyio.lowlevel.checkpoint()
        del reason
        if selection == Selection():
            return 0
        query = MemoryQuery(
            kinds=selection.kinds,
            tags=selection.tags,
            until=selection.until,
            session=selection.session,
        )
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

    async def records(
        self, reach: Sequence[Reach], /, *, after: int = 0, limit: int = 500
    ) -> tuple[MemoryRecord, ...]:
        """List memories in the order they were added."""
        await anyio.lowlevel.checkpoint()
        found = [
            self._record(each, position)
            for position, each in enumerate(self._memories.values(), 1)
            if position > after and _reaches(reach, each.place) and not self._is_expired(each)
        ]
        return tuple(found[:limit])

    def _record(self, memory: _Memory, position: int) -> MemoryRecord:
        held = {key: each for key, each in self._memories.items() if not self._is_expired(each)}
        owner = memory.place.owner
        older = [each for each in held.values() if each.replaced_by == memory.id]
        links = {link for link in memory.draft.links if (owner, link[1]) in held}
        draft = replace(
            memory.draft,
            tags=tuple(sorted(set(memory.draft.tags))),
            created=memory.created,
            links=tuple(sorted(links)),
            replaces=older[0].id if older else None,
            idempotency_key=None,
        )
        return MemoryRecord(
            id=memory.id,
            namespace=memory.place.namespace,
            draft=draft,
            is_current=memory.replaced_by is None,
            position=position,
        )

    def _ranked(self, memories: Sequence[_Memory], query: MemoryQuery) -> list[Hit]:
        if query.text is None:
            newest = sorted(enumerate(memories), key=lambda each: (-each[1].created, -each[0]))
            return [_hit(each, 1.0) for _, each in newest] if query.session is not None else []
        wanted = _words(query.text)
        hits: list[Hit] = []
        for each in memories:
            shared = wanted & _words(each.draft.content)
            if shared:
                age = max(0.0, self._now() - each.created)
                why = {
                    "words": len(shared) / len(wanted),
                    "recency": query.recency * 0.5 ** (age / _HALF_LIFE_SECONDS),
                    "importance": query.importance * each.draft.importance,
                }
                hits.append(replace(_hit(each, sum(why.values())), why=why))
        scale = max([1.0, *(hit.score for hit in hits)])
        hits = [_scaled(hit, scale, explain=query.explain) for hit in hits]
        return sorted(hits, key=lambda hit: -hit.score)

    def _versions(self, memory: str, reach: Sequence[Reach]) -> list[Hit]:
        """Give all versions of a memory, if the living one is within reach."""
        chains = {each.id: each for each in self._memories.values() if _reaches(reach, each.place)}
        head = chains.get(memory)
        while head is not None and head.replaced_by is not None:
            head = chains.get(head.replaced_by)
        if head is None or self._is_expired(head):
            return []
        hits, last = [_hit(head, 1.0)], head
        older = {each.replaced_by: each for each in chains.values() if not self._is_expired(each)}
        while last.id in older:
            last = older[last.id]
            hits.append(replace(_hit(last, 1.0), replaced=last.reason))
        return hits

    def _add(self, draft: MemoryDraft, place: Place) -> Added:
        created = self._now() if draft.created is None else draft.created
        memory = _Memory(id=self._new_id(), place=place, draft=draft, created=created)
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
        replaced = replace(old, replaced_by=memory.id, reason=draft.reason)
        self._memories[place.owner, old.id] = replaced
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
        and query.session in (None, draft.session)
    )


def _is_same(one: MemoryDraft, other: MemoryDraft) -> bool:
    if (one.kind, one.data) != (other.kind, other.data):
        return False
    if other.fold and _adds_nothing(other.content, one.content):
        return True
    return (one.content, one.session) == (other.content, other.session)


def _renewed(old: MemoryDraft, new: MemoryDraft) -> MemoryDraft:
    ends = (old.expires, new.expires)
    expires = None if None in ends else max(end for end in ends if end is not None)
    return replace(
        old,
        tags=tuple(sorted({*old.tags, *new.tags})),
        expires=expires,
        links=(*old.links, *new.links),
    )


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
        session=draft.session,
        importance=draft.importance,
        links=tuple(sorted(set(draft.links))),
    )


def _scaled(hit: Hit, scale: float, *, explain: bool) -> Hit:
    why = {name: part / scale for name, part in (hit.why or {}).items()}
    return replace(hit, score=hit.score / scale, why=why if explain else None)


def _only_known_links(hit: Hit, known: Mapping[str, _Memory]) -> Hit:
    return replace(hit, links=tuple(link for link in hit.links if link[1] in known))


def _linked(
    hits: Sequence[Hit], known: Mapping[str, _Memory], steps: int, *, most: int
) -> list[Hit]:
    seen, frontier, found = {hit.id for hit in hits}, list(hits), list[Hit]()
    for _ in range(steps):
        ways = {target: hit for hit in reversed(frontier) for _, target in hit.links}
        frontier = [
            replace(_only_known_links(_hit(known[target], 1.0), known), via=hit.id)
            for target, hit in ways.items()
            if target in known and target not in seen
        ][: most - len(found)]
        seen |= {hit.id for hit in frontier}
        found += frontier
    return found


def _adds_nothing(text: str, other: str) -> bool:
    return re.findall(r"\w+", text.lower()) == re.findall(r"\w+", other.lower())


def _without_repeats(hits: Sequence[Hit]) -> list[Hit]:
    kept: list[Hit] = []
    for hit in hits:
        if not any(_adds_nothing(hit.content, better.content) for better in kept):
            kept.append(hit)
    return kept


def _pack(hits: Sequence[Hit], max_tokens: int | None) -> list[Hit]:
    if max_tokens is None:
        return list(hits)
    kept: list[Hit] = []
    for hit in hits:
        tokens = -(-len(hit.content.encode(errors="replace")) // 4)
        if tokens <= max_tokens:
            max_tokens -= tokens
            kept.append(hit)
    return kept
