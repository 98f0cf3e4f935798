"""Memories to measure with: words as frequent as in English, and vectors made beforehand."""

import itertools
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import anyio.lowlevel
import apsw
import numpy as np

from backends.database import Database, open_database
from backends.embedding import convert_minilm
from backends.errors import BackendUnavailableError
from backends.llama_cpp import LlamaEmbedder, LlamaSettings, open_llama_embedder
from backends.memory_store import MEMORY_STORE, SqliteMemoryStore
from backends.memory_store.adding_together import add_all
from backends.memory_store.additions import Addition
from backends.memory_store.vectors import Stored, quantise
from backends.messages import MemoryDraft, Place
from backends.protocols import Embedder, Vectors

DIMENSIONS = 384
NOW = 1_790_000_000.0
WORDS_PER_MEMORY = 45
PLENTY = 10**12

_WORDS = 20_000
_STOP_WORDS = 100  # the most frequent words of English say nothing, and questions are rid of them
_TOPICS = 400
_NOISE = 0.9
_FEW = 10_000
_AT_ONCE = 2048
_TOGETHER = 64


class TopicEmbedder:
    """Gives vectors that cost nothing to make: one of some topics, and noise."""

    name = "topics"

    def __init__(self, count: int) -> None:
        source = np.random.default_rng(7)
        topics = source.standard_normal((_TOPICS, DIMENSIONS), np.float32)
        vectors = source.standard_normal((count, DIMENSIONS), np.float32)
        vectors *= _NOISE
        vectors += topics[np.arange(count) % _TOPICS]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors: Vectors = vectors
        self._next = 0
        self._stored: dict[int, Stored] = {}

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        """Give the next ones in turn."""
        await anyio.lowlevel.checkpoint()
        first = self._next % (len(self.vectors) - len(texts) + 1)
        self._next = first + len(texts)
        return self.vectors[first : self._next]

    def stored(self, number: int) -> Stored:
        """Give one as it is stored, worked out once where there are few."""
        found = self._stored.get(number)
        if found is None:
            [found] = quantise(self.vectors[number : number + 1])
            if len(self.vectors) <= _FEW:
                self._stored[number] = found
        return found

    def rewind(self) -> None:
        """Give the last one again."""
        self._next -= 1


@asynccontextmanager
async def opened(embedder: Embedder) -> AsyncGenerator[tuple[SqliteMemoryStore, Database]]:
    """Open a store over a file of its own."""
    numbers = itertools.count(1 << 64)
    with TemporaryDirectory() as directory:
        async with open_database(Path(directory) / "memory.db", [MEMORY_STORE]) as database:
            store = SqliteMemoryStore(
                database,
                embedder,
                now=lambda: NOW,
                new_id=lambda: f"{next(numbers):026x}",
                quota=lambda _: (PLENTY, PLENTY),
            )
            yield store, database


@asynccontextmanager
async def opened_minilm() -> AsyncGenerator[LlamaEmbedder | None]:
    """Open the full model behind the default embedder; None where its weights are missing."""
    with TemporaryDirectory() as directory:
        model = Path(directory) / "minilm.gguf"
        try:
            convert_minilm(model)
        except BackendUnavailableError:
            yield None
            return
        async with open_llama_embedder(LlamaSettings(model=model, name="minilm")) as minilm:
            yield minilm


async def fill(
    database: Database, embedder: TopicEmbedder, drafts: Sequence[tuple[str, str]]
) -> None:
    """Add memories, each as its owner and its text, many in one transaction."""
    for first in range(0, len(drafts), _AT_ONCE):
        numbered = list(enumerate(drafts[first : first + _AT_ONCE], first))

        def work(
            connection: apsw.Connection, numbered: Sequence[tuple[int, tuple[str, str]]] = numbered
        ) -> None:
            for start in range(0, len(numbered), _TOGETHER):  # so that blocks are as after use
                add_all(
                    connection,
                    [
                        _addition(embedder, number, owner, text)
                        for number, (owner, text) in numbered[start : start + _TOGETHER]
                    ],
                )

        await database.write(work)


def draft(number: int, text: str) -> MemoryDraft:
    """Give a memory of which every second one has a tag."""
    tags = ("odd",) if number % 2 else ()
    return MemoryDraft(content=text, tags=tags, source={"agent": "ada", "tool": "add_memory"})


def texts(count: int) -> list[str]:
    """Give texts to remember."""
    return [" ".join(words) for words in _sampled(count, WORDS_PER_MEMORY, seed=1)]


def questions(count: int) -> list[str]:
    """Give texts to search for, without the most frequent words."""
    return [" ".join(words) for words in _sampled(count, 6, seed=2, skipped=_STOP_WORDS)]


def _addition(embedder: TopicEmbedder, number: int, owner: str, text: str) -> Addition:
    return Addition(
        draft=draft(number, text),
        place=Place(owner, "self"),
        id=f"{number:026x}",
        embedder=embedder.name,
        vector=embedder.stored(number % len(embedder.vectors)),
        now=NOW + number * 3600.0,  # apart, so that they are not taken for a conversation
        max_rows=PLENTY,
        max_bytes=PLENTY,
    )


def _sampled(count: int, length: int, *, seed: int, skipped: int = 0) -> list[list[str]]:
    """Give words as frequent as in English: by the inverse of their rank."""
    source = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    spell = random.Random(0)
    words = ["".join(spell.choices(letters, k=spell.randint(4, 9))) for _ in range(_WORDS)]
    weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(_WORDS)))
    chosen, upto = words[skipped:], weights[skipped:]
    first = weights[skipped - 1] if skipped else 0.0
    shifted = [weight - first for weight in upto]
    return [source.choices(chosen, cum_weights=shifted, k=length) for _ in range(count)]
