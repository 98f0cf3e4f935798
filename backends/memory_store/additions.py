"""What an addition to the memories writes, worked out without the database."""

from dataclasses import dataclass
from typing import NamedTuple

from backends.memory_store.entries import Described
from backends.memory_store.texts import to_json
from backends.memory_store.vectors import Stored
from backends.messages import MemoryDraft, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedDraft:
    """A draft ready to be written, on whichever database, but for its vector.

    Attributes:
        draft: Its texts can be stored.
        place: Where it goes.
        id: The public id it gets.
        embedder: Name of what makes the vector.
        now: Unix seconds.
        max_rows: Most memories of the partition.
        max_bytes: Most bytes of the partition.
    """

    draft: MemoryDraft
    place: Place
    id: str
    embedder: str
    now: float
    max_rows: int
    max_bytes: int

    @property
    def created(self) -> float:
        """When it was made, as the draft says or now."""
        return self.now if self.draft.created is None else self.draft.created


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition(PlacedDraft):
    """One with its vector; None is still to be made."""

    vector: Stored | None


class Row(NamedTuple):
    """A memory as its table keeps it."""

    id: int
    public: str
    namespace: int
    kind: str
    content: str
    tags: str
    data: str | None
    source: str
    created: float
    expires: float | None
    hash: bytes
    size: int
    replaced_by: None
    session: str
    importance: float
    reason: str


def memory_row(addition: Addition, memory: int, namespace: int, digest: bytes) -> Row:
    """Give the row of a new memory."""
    draft = addition.draft
    tags = to_json(sorted({*draft.tags})) if draft.tags else "[]"
    source = to_json(draft.source)
    data = None if draft.data is None else to_json(draft.data)
    texts = (draft.content, draft.kind, tags, data or "", source, draft.session, draft.reason)
    return Row(
        id=memory,
        public=addition.id,
        namespace=namespace,
        kind=draft.kind,
        content=draft.content,
        tags=tags,
        data=data,
        source=source,
        created=addition.created,
        expires=draft.expires,
        hash=digest,
        size=sum(map(len, map(str.encode, texts))),
        replaced_by=None,
        session=draft.session,
        importance=draft.importance,
        reason=draft.reason,
    )


def described(addition: Addition, memory: int, namespace: int) -> Described:
    """Give what the entry of a new memory describes."""
    draft = addition.draft
    agent = draft.source.get("agent")
    return Described(
        id=memory,
        namespace=namespace,
        content=draft.content,
        kind=draft.kind,
        tags=draft.tags,
        session=draft.session,
        agent=None if agent is None else str(agent),
        created=addition.created,
        expires=draft.expires,
        importance=draft.importance,
    )
