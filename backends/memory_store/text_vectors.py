"""Vectors of what memories and queries say, in the form that a store keeps.

Who asks at the same time shares a call of the embedder, and what was asked is kept by the hash of
its text: each owner's apart, since the time an answer takes would tell what others have stored.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from backends.errors import BackendError, BackendTimeoutError
from backends.messages import MemoryQuery, Reach
from backends.protocols import Embedder, Vectors

V = TypeVar("V")

_EMBED_SECONDS = 10.0
_CALLS_AT_ONCE = 4
_MOST_TEXTS = 64  # of a call
_MOST_CHARACTERS = 4000  # of them: a small model on a processor takes some seconds for that
_MOST_KEPT = 2048

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Together(Generic[V]):
    """Texts that one call embeds; once it is done, their vectors, or none where it failed."""

    texts: list[str] = field(default_factory=list[str])
    characters: int = 0
    done: anyio.Event = field(default_factory=anyio.Event)
    vectors: Sequence[V] = ()
    failure: BackendError = field(default_factory=lambda: BackendError("the embedder failed"))

    def is_full_for(self, text: str) -> bool:
        """Whether the text is to be embedded by another call."""
        is_long = self.characters + len(text) > _MOST_CHARACTERS
        return is_long or len(self.texts) == _MOST_TEXTS


class TextVectors(Generic[V]):
    """An embedder with a deadline, for which stores and searches have something to fall back on."""

    def __init__(self, embedder: Embedder, convert: Callable[[Vectors], Sequence[V]]) -> None:
        self._embedder = embedder
        self._convert = convert
        self._calls = anyio.Semaphore(_CALLS_AT_ONCE)
        self._gathering: _Together[V] | None = None
        self._kept: OrderedDict[tuple[Hashable, bytes], V] = OrderedDict()

    @property
    def embedder(self) -> str:
        """The embedder's name."""
        return self._embedder.name

    async def of(self, texts: Sequence[str]) -> Sequence[V]:
        """Give the vectors of texts.

        Raises:
            BackendError: The embedder failed, or took longer than ten seconds.
        """
        with _deadline():
            return self._convert(await self._embedder.embed(texts))

    async def of_memory(self, content: str, owner: str) -> V | None:
        """Give a memory's vector; None if that is to be made up for later."""
        try:
            return await self._of_one(content, owner)
        except BackendError:
            logger.warning("memory stored without its vector", exc_info=True)
            return None

    async def of_query(self, query: MemoryQuery, reach: Sequence[Reach]) -> V | None:
        """Give a query's vector; None if it is to be searched by words alone.

        Raises:
            BackendError: The embedder failed in a search by vectors alone.
        """
        if query.text is None or query.mode == "keyword":
            return None
        try:
            return await self._of_one(query.text, tuple(reach))
        except BackendError:
            if query.mode == "vector":
                raise
            logger.warning("searched by words alone", exc_info=True)
            return None

    def drop(self) -> None:
        """Let go of what was asked, so that what was forgotten does not stay in memory."""
        self._kept.clear()

    async def _of_one(self, text: str, whose: Hashable) -> V:
        key = whose, hashlib.sha256(text.encode()).digest()
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return kept
        vector = self._kept[key] = await self._embed_with_others(text)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return vector

    async def _embed_with_others(self, text: str) -> V:
        together = self._gathering
        if together is None or together.is_full_for(text):
            together = self._gathering = _Together()
        position = len(together.texts)
        together.texts.append(text)
        together.characters += len(text)
        if position:
            await together.done.wait()
        else:
            await self._embed(together)
        if together.vectors:
            return together.vectors[position]
        if len(together.texts) == 1 or isinstance(together.failure, BackendTimeoutError):
            raise together.failure
        [vector] = await self.of([text])  # alone, as it may be another's text that fails
        return vector

    async def _embed(self, together: _Together[V]) -> None:
        try:
            # Others wait for it, so it goes on where the first of them is cancelled.
            with _deadline(shield=True):
                async with self._calls:
                    self._leave(together)
                    together.vectors = self._convert(await self._embedder.embed(together.texts))
        except BackendError as exc:
            together.failure = exc
        finally:
            self._leave(together)
            together.done.set()

    def _leave(self, together: _Together[V]) -> None:
        if self._gathering is together:
            self._gathering = None


@contextmanager
def _deadline(*, shield: bool = False) -> Generator[None]:
    try:
        with anyio.fail_after(_EMBED_SECONDS, shield=shield):
            yield
    except TimeoutError as exc:
        raise BackendTimeoutError("the embedder did not answer in time") from exc
