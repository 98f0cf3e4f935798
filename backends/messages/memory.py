"""What goes to memory stores and comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from backends.messages.json_values import JsonObject

SearchMode = Literal["hybrid", "vector", "keyword"]

FIRST_MOMENT, LAST_MOMENT = -62_135_596_800.0, 253_402_300_799.0
"""Unix seconds of the years 1 to 9999: what is outside has no date to show or to search for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a memory is kept.

    Attributes:
        owner: The agent whose private partition it is, or "" for the partition that agents share.
        namespace: Name inside that partition: `self`, `self/work`, `shared`, `team/alpha`.
    """

    owner: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Which memories a call may touch: one partition, and name patterns inside it.

    Attributes:
        owner: As in `Place`.
        patterns: Exact namespaces, or prefixes ending in `/*`, which match the prefix itself too
            (`self/*` matches `self` and `self/work`).
    """

    owner: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryDraft:
    """A memory to be added.

    Attributes:
        content: Text, not empty.
        kind: Free text such as `fact` or `decision`.
        tags: Labels to filter by.
        data: JSON the caller wants back.
        replaces: Id of the memory this one supersedes.
        links: `(relation, id)` pairs to memories of the same partition.
        expires: Unix seconds after which it is gone; None never.
        source: Where it came from: agent, tool, request.
        idempotency_key: The same key with the same body adds once.
        session: Conversation it was said in, or ""; searches know its neighbours there.
        importance: In [0, 1]; counts where a query gives it weight.
        created: Unix seconds it is from; None is now.
        reason: Why it replaces the other; kept in that one's history.
        fold: Where a memory of the same kind and namespace says nearly the same, that one stands.
    """

    content: str
    kind: str = "fact"
    tags: tuple[str, ...] = ()
    data: JsonObject | None = None
    replaces: str | None = None
    links: tuple[tuple[str, str], ...] = ()
    expires: float | None = None
    source: JsonObject = field(default_factory=dict[str, object])
    idempotency_key: str | None = None
    session: str = ""
    importance: float = 0.5
    created: float | None = None
    reason: str = ""
    fold: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a draft.

    Attributes:
        id: Id of the stored memory.
        deduplicated: The same content stood there already, or nearly the same where the draft asks
            to fold, or the key was seen before.
        replaced: Id of the memory it superseded.
    """

    id: str
    deduplicated: bool = False
    replaced: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryQuery:
    """What to look for: `text`, `id`, or a `session` alone.

    Attributes:
        text: Words to search for.
        id: Id to fetch.
        k: Most hits to return.
        kinds: Only these kinds; empty means all.
        tags: Only memories that carry all of these.
        since: Only those created at or after, in Unix seconds.
        until: Only those created before, in Unix seconds.
        max_tokens: Room for the hits' texts, best first; one that does not fit is left out.
        session: Only memories of this conversation; without text or id its last ones, newest first.
        history: With an id: its older versions too, newest first. It may be an older one's id.
        links: Links to follow from each hit, so many steps; what they lead to comes after the hits.
        distinct: Leave out hits that say nearly the same as a better one.
        recency: Weight in [0, 1] of how new a memory is: half after 30 days.
        importance: Weight in [0, 1] of its importance.
        explain: Say of each hit what its score is made of.
    """

    text: str | None = None
    id: str | None = None
    k: int = 10
    mode: SearchMode = "hybrid"
    kinds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    max_tokens: int | None = None
    session: str | None = None
    history: bool = False
    links: int = 0
    distinct: bool = False
    recency: float = 0.0
    importance: float = 0.0
    explain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One memory found; `score` is in [0, 1], higher is better, comparable within one answer.

    Attributes:
        links: `(relation, id)` pairs it was given and that lead to memories within reach.
        via: Id of the hit whose link led here, or "".
        replaced: Of an older version: why it was replaced, maybe ""; None of a living memory.
        why: Parts of the score by name, where the query asks to explain.
    """

    id: str
    content: str
    score: float
    kind: str
    tags: tuple[str, ...]
    namespace: str
    created: float
    data: JsonObject | None
    source: JsonObject
    session: str = ""
    importance: float = 0.5
    links: tuple[tuple[str, str], ...] = ()
    via: str = ""
    replaced: str | None = None
    why: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecord:
    """A stored memory as a listing gives it.

    Attributes:
        id: Its id.
        namespace: Where it stands.
        draft: What would store it again: `created` is set, `replaces` names the older version that
            still stands, there is no key.
        is_current: It was not replaced.
        position: What was added later stands higher; a listing goes on after it.
    """

    id: str
    namespace: str
    draft: MemoryDraft
    is_current: bool
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Memories to forget: by ids, or by a filter of which at least one part is set."""

    ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    until: float | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCounts:
    """What one partition holds."""

    rows: int
    size_bytes: int
