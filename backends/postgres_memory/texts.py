"""Texts as PostgreSQL takes them, and their words as the index knows them."""

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import apsw

from backends.memory_store.words import (
    date_words,
    label_hash,
    search_words,
    stems,
    word_hash,
)
from backends.messages import MemoryDraft
from backends.text import well_formed

_SPACE_BITS = 32


def storable(text: str) -> str:
    """Give a text without what PostgreSQL cannot hold: lone surrogates, and the character 0."""
    return well_formed(text).replace("\0", "\N{REPLACEMENT CHARACTER}")


def storable_draft(draft: MemoryDraft) -> MemoryDraft:
    """Give a draft whose texts can be stored."""
    key, replaces = draft.idempotency_key, draft.replaces
    return replace(
        draft,
        content=storable(draft.content),
        kind=storable(draft.kind),
        session=storable(draft.session),
        reason=storable(draft.reason),
        tags=tuple(sorted({storable(tag) for tag in draft.tags})),
        replaces=None if replaces is None else storable(replaces),
        links=tuple((storable(relation), storable(target)) for relation, target in draft.links),
        idempotency_key=None if key is None else storable(key),
    )


class Entered(NamedTuple):
    """The words of an entry: how many its content has, and those of the index."""

    length: int
    words: list[int]


class Words:
    """Splits texts into words as the SQLite store does, so that both find the same."""

    def __init__(self) -> None:
        self._tokenizer = apsw.Connection(":memory:")
        self._lock = threading.Lock()  # guards the tokenizer, which one thread may use at a time

    def of(self, text: str) -> list[int]:
        """Give the hashes of a text's words, as often as they stand in it."""
        with self._lock:
            return [word_hash(stem) for stem in stems(self._tokenizer, text)]

    def entered(
        self, space: int, content: str, tags: Iterable[str], created: float, session: str
    ) -> Entered:
        """Give what an entry is found by: its text and tags, its day, and its labels."""
        hashes = self.of(" ".join((content, *tags)))
        by = [*hashes, *self.dated(created), *labels(tags, session)]
        return Entered(len(content.split()), tagged(space, by))

    def looked_for(self, query: str) -> list[int]:
        """Give the hashes of the words that a query looks for, each once."""
        return list(dict.fromkeys(self.of(" ".join(search_words(query)))))

    def dated(self, created: float) -> list[int]:
        """Give the hashes of a day as people write it."""
        return self.of(date_words(created))


def labels(tags: Iterable[str], session: str) -> list[int]:
    """Give the hashes of labels that an entry can be found by, as if they were words."""
    return [label_hash("tag", tag) for tag in tags] + (
        [label_hash("session", session)] if session else []
    )


def tagged(space: int, hashes: Iterable[int]) -> list[int]:
    """Give words as they stand in the index, apart from those of other partitions."""
    return [space << _SPACE_BITS | each for each in sorted(set(hashes))]
