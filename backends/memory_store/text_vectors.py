"""Vectors of what memories and queries say, in the form that a store keeps."""

import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import anyio
import numpy as np
from numpy.typing import NDArray

from backends.errors import BackendError, BackendTimeoutError
from backends.messages import MemoryQuery
from backends.protocols import Embedder

V = TypeVar("V")

_EMBED_SECONDS = 10.0

logger = logging.getLogger(__name__)


class TextVectors(Generic[V]):
    """An embedder with a deadline, for which stores and searches have something to fall back on."""

    def __init__(self, embedder: Embedder, convert: Callable[[NDArray[np.float32]], V]) -> None:
        self._embedder = embedder
        self._convert = convert

    @property
    def embedder(self) -> str:
        """The embedder's name."""
        return self._embedder.name

    async def of(self, texts: Sequence[str]) -> list[V]:
        """Give the vectors of texts.

        Raises:
            BackendError: The embedder failed, or took longer than ten seconds.
        """
        try:
            with anyio.fail_after(_EMBED_SECONDS):
                vectors = await self._embedder.embed(texts)
        except TimeoutError as exc:
            raise BackendTimeoutError("the embedder did not answer in time") from exc
        return [self._convert(vector) for vector in vectors]

    async def of_memory(self, content: str) -> V | None:
        """Give a memory's vector; None if that is to be made up for later."""
        try:
            [vector] = await self.of([content])
        except BackendError:
            logger.warning("memory stored without its vector", exc_info=True)
            return None
        return vector

    async def of_query(self, query: MemoryQuery) -> V | None:
        """Give a query's vector; None if it is to be searched by words alone.

        Raises:
            BackendError: The embedder failed in a search by vectors alone.
        """
        if query.text is None or query.mode == "keyword":
            return None
        try:
            [vector] = await self.of([query.text])
        except BackendError:
            if query.mode == "vector":
                raise
            logger.warning("searched by words alone", exc_info=True)
            return None
        return vector
