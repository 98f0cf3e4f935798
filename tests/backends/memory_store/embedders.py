"""Embedders small enough to see through."""

import hashlib
import re
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import numpy as np

from backends.errors import BackendUnavailableError
from backends.protocols import Vectors

DIMENSIONS = 64


class WordEmbedder:
    """Gives each word a direction of its own, by its hash, and a text the sum of its words."""

    def __init__(self, name: str = "words") -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        await anyio.lowlevel.checkpoint()
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        for number, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                digest = hashlib.sha256(f"{self._name} {word}".encode(errors="replace")).digest()
                seed = int.from_bytes(digest[:8])
                vectors[number] += np.random.default_rng(seed).standard_normal(DIMENSIONS)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors


class BrokenEmbedder:
    """Fails, as a model does whose worker has died."""

    name = "broken"

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        await anyio.lowlevel.checkpoint()
        raise BackendUnavailableError("the worker died")


class HangingEmbedder:
    """Never answers."""

    name = "hanging"

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        await anyio.sleep_forever()
        raise AssertionError("unreachable")
