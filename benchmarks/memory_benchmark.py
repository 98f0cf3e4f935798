"""What memories cost: searching and adding them with vectors made beforehand, and embedding."""

import itertools
import random
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

import anyio
import anyio.lowlevel
import numpy as np

from backends.database import open_database
from backends.embedding import StaticEmbedder, convert_minilm
from backends.errors import BackendUnavailableError
from backends.llama_cpp import LlamaSettings, open_llama_embedder
from backends.memory_store import MEMORY_STORE, SqliteMemoryStore
from backends.messages import MemoryDraft, MemoryQuery, Place, Reach
from backends.protocols import Embedder, Vectors
from benchmarks.figures import Figure

DIMENSIONS = 384
WORDS = 20_000
WORDS_PER_MEMORY = 45
STOP_WORDS = 100  # the most frequent words of English say nothing, and questions are rid of them
MEMORIES = 10_000
ADDING_AGENTS = 32
_TOPICS = 400


class TopicEmbedder:
    """Gives vectors that cost nothing to make: one of some topics, and noise."""

    name = "topics"

    def __init__(self) -> None:
        source = np.random.default_rng(7)
        topics = source.standard_normal((_TOPICS, DIMENSIONS))
        noise = source.standard_normal((MEMORIES, DIMENSIONS)) * 0.9
        vectors = topics[np.arange(MEMORIES) % _TOPICS] + noise
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors: Vectors = unit.astype(np.float32)
        self._next = 0

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        """Give the next ones in turn."""
        await anyio.lowlevel.checkpoint()
        first = self._next
        self._next += len(texts)
        return self.vectors[np.arange(first, self._next) % MEMORIES]


def run(*, quick: bool) -> list[Figure]:
    """Measure searches of one large partition and of many small ones, adds, and embedders."""
    return [
        *anyio.run(_one_agent, 60 if quick else 500),
        *anyio.run(_many_agents, 200 if quick else 1000, 60 if quick else 500),
        anyio.run(_adding, 4_000 if quick else 20_000),
        *anyio.run(_embedding, 100 if quick else 1000),
    ]


async def _one_agent(rounds: int) -> list[Figure]:
    embedder = TopicEmbedder()
    async with _opened(embedder) as store:
        texts = _texts(MEMORIES)
        await _add_all(store, [("ada", text) for text in texts])
        questions = _questions(rounds)
        filtered = await _times(
            lambda n: _search(store, "ada", questions[n], kinds=("fact",), tags=("odd",)), rounds
        )
        plain = await _times(lambda n: _search(store, "ada", questions[n]), rounds)
    scan = await _times(lambda n: _scan(embedder.vectors, n), rounds)
    peer = f"exact numpy scan, vectors only: {median(scan):.2f} ms"
    size = f"{MEMORIES:,} memories of one agent"
    return [
        Figure(
            name=f"hybrid search with filters, {size}, p50",
            value=median(filtered),
            unit="ms",
            bar=6.0,
            peer=peer,
        ),
        Figure(name="the same without filters, p50", value=median(plain), unit="ms", peer=peer),
        Figure(name="the same without filters, p99", value=quantiles(plain, n=100)[98], unit="ms"),
    ]


async def _many_agents(agents: int, rounds: int) -> list[Figure]:
    async with _opened(TopicEmbedder()) as store:
        texts = _texts(100)
        await _add_all(store, [("agent-0", text) for text in texts])
        questions = _questions(rounds)
        alone = await _times(lambda n: _search(store, "agent-0", questions[n]), rounds)
        drafts = [(f"agent-{n}", text) for n in range(1, agents) for text in texts]
        await _add_all(store, drafts)
        among = await _times(lambda n: _search(store, f"agent-{n % agents}", questions[n]), rounds)
    return [
        Figure(
            name=f"hybrid search of 100 memories among {agents:,} agents, p50",
            value=median(among),
            unit="ms",
            bar=6.0,
        ),
        Figure(
            name="the same / alone in the file",
            value=median(among) / median(alone),
            unit="x",
            bar=3.0,
            peer=f"alone: {median(alone):.2f} ms",
        ),
    ]


async def _adding(count: int) -> Figure:
    async with _opened(TopicEmbedder()) as store:
        drafts = [(f"agent-{n % ADDING_AGENTS}", text) for n, text in enumerate(_texts(count))]
        start = time.perf_counter()
        await _add_all(store, drafts, tasks=ADDING_AGENTS)
        seconds = time.perf_counter() - start
    return Figure(
        name=f"durable adds from {ADDING_AGENTS} agents at once, vectors given",
        value=count / seconds,
        unit="1/s",
        bar=5_000.0,
        better="higher",
    )


async def _embedding(rounds: int) -> list[Figure]:
    texts = _texts(rounds)
    static = StaticEmbedder()
    await static.embed(texts)  # the tokeniser has seen the words, as after some use
    times = await _times(lambda n: static.embed([texts[n]]), rounds)
    figures = [
        Figure(
            name=f"static embedding, {WORDS_PER_MEMORY} words, p50",
            value=median(times) * 1000,
            unit="us",
        )
    ]
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory) / "minilm.gguf"
        try:
            convert_minilm(model)
        except BackendUnavailableError:
            return figures  # the weights are not installed
        async with open_llama_embedder(LlamaSettings(model=model, name="minilm")) as minilm:
            await minilm.embed(texts[:1])
            times = await _times(lambda n: minilm.embed([texts[n]]), max(10, rounds // 10))
    name = f"MiniLM embedding by llama.cpp, {WORDS_PER_MEMORY} words, p50"
    return [*figures, Figure(name=name, value=median(times), unit="ms")]


@asynccontextmanager
async def _opened(embedder: Embedder) -> AsyncGenerator[SqliteMemoryStore]:
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as directory:
        async with open_database(Path(directory) / "memory.db", [MEMORY_STORE]) as database:
            yield SqliteMemoryStore(
                database,
                embedder,
                now=lambda: 1_790_000_000.0,
                new_id=lambda: f"{next(numbers):026x}",
                quota=lambda _: (1_000_000, 10_000_000_000),
            )


async def _add_all(
    store: SqliteMemoryStore, drafts: Sequence[tuple[str, str]], *, tasks: int = 256
) -> None:
    """Add from some tasks, each waiting for its own answers."""
    queue = iter(enumerate(drafts))

    async def work() -> None:
        for number, (owner, text) in queue:
            tags = ("odd",) if number % 2 else ()
            await store.add(MemoryDraft(content=text, tags=tags), Place(owner, "self"))

    async with anyio.create_task_group() as tg:
        for _ in range(tasks):
            tg.start_soon(work)


async def _search(
    store: SqliteMemoryStore,
    owner: str,
    text: str,
    kinds: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
) -> None:
    query = MemoryQuery(text=text, kinds=kinds, tags=tags)
    hits = await store.search(query, [Reach(owner, ("self/*",))])
    assert hits


async def _scan(vectors: Vectors, number: int) -> None:
    await anyio.lowlevel.checkpoint()
    likeness = vectors @ vectors[number]
    best = np.argpartition(-likeness, 10)[:10]
    assert number in best[np.argsort(-likeness[best])]


async def _times(call: Callable[[int], Awaitable[object]], rounds: int) -> list[float]:
    """Give the milliseconds of each call."""
    times: list[float] = []
    for number in range(rounds):
        start = time.perf_counter_ns()
        await call(number)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def _texts(count: int) -> list[str]:
    return [" ".join(words) for words in _sampled(count, WORDS_PER_MEMORY, seed=1)]


def _questions(count: int) -> list[str]:
    return [" ".join(words) for words in _sampled(count, 6, seed=2, skipped=STOP_WORDS)]


def _sampled(count: int, length: int, *, seed: int, skipped: int = 0) -> list[list[str]]:
    """Give words as frequent as in English: by the inverse of their rank."""
    source = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    spell = random.Random(0)
    words = ["".join(spell.choices(letters, k=spell.randint(4, 9))) for _ in range(WORDS)]
    weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(WORDS)))
    chosen, upto = words[skipped:], weights[skipped:]
    first = weights[skipped - 1] if skipped else 0.0
    shifted = [weight - first for weight in upto]
    return [source.choices(chosen, cum_weights=shifted, k=length) for _ in range(count)]
