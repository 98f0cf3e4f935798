"""What memories cost and how well they are found: searches, adds, embedders, the whole over MCP."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import anyio
import numpy as np
from mcp import Client

from aios_mcp.app import App, open_kernel
from aios_mcp.config import Config
from aios_mcp.server.server import AiosServer, Surface, build_server
from backends.database import Database
from backends.embedding import StaticEmbedder
from backends.memory_store import SqliteMemoryStore
from backends.messages import MemoryQuery, Reach
from benchmarks.figures import Figure
from benchmarks.memory_adds import adding
from benchmarks.memory_peers import Rows, search_times, shown
from benchmarks.memory_quality import quality
from benchmarks.memory_workload import (
    WORDS_PER_MEMORY,
    TopicEmbedder,
    fill,
    opened,
    opened_minilm,
    questions,
    texts,
)

MEMORIES = 10_000
ALL_PEERS = ("numpy", "chromadb", "qdrant_client", "lancedb")
MANY_AGENTS_PEERS = {"numpy": 1_000_000, "qdrant_client": 10_000, "lancedb": 1_000_000}
"""How many vectors they store beside a million of ours: one takes minutes for ten thousand."""

BYTES_PER_ROW = 1500.0

_PEER_ROUNDS = 30


def run(*, quick: bool) -> list[Figure]:
    """Measure searches of large partitions and of many small ones, adds, quality, embedders."""
    rounds = 60 if quick else 300
    figures = anyio.run(_one_agent, MEMORIES, 6.0, None, rounds, () if quick else ALL_PEERS)
    if not quick:
        figures += anyio.run(_one_agent, 100_000, 40.0, 0.98, 100)
        figures += anyio.run(_one_agent, 1_000_000, 150.0, 0.95, 50)
    return [
        *figures,
        *anyio.run(_many_agents, 100 if quick else 1000, 200 if quick else 1000, rounds, quick),
        *anyio.run(adding, 4_000 if quick else 20_000),
        *anyio.run(_over_mcp, 100 if quick else 400),
        *anyio.run(lambda: quality(1 if quick else 4, quick=quick)),
        *anyio.run(_embedding, 100 if quick else 1000),
    ]


async def _one_agent(
    count: int, bar: float, recall: float | None, rounds: int, peers: Sequence[str] = ("numpy",)
) -> list[Figure]:
    embedder = TopicEmbedder(count)
    asked, contents = questions(rounds), texts(count)
    async with opened(embedder) as (store, database):
        await fill(database, embedder, [("ada", text) for text in contents])
        filtered = await _times(lambda n: _search(store, "ada", asked[n], is_filtered=True), rounds)
        plain = await _times(lambda n: _search(store, "ada", asked[n]), rounds)
        found = await _recall(store, embedder, min(rounds, 50))
        size_bytes = await _size_bytes(database) / count
    labels = np.arange(count) % 2
    sizes = dict.fromkeys(peers, count)
    rows = Rows(embedder.vectors, contents, labels, asked)
    times = search_times(rows, sizes, _PEER_ROUNDS)
    what = f"{count:,} memories of one agent"
    return [
        Figure(
            name=f"hybrid search with filters, {what}, p50",
            value=median(filtered),
            unit="ms",
            bar=bar,
            peer=f"filtered: {shown(times)}" if times else "",
        ),
        *_ratios(times, median(filtered), bar=2.0),
        Figure(name="the same without filters, p50", value=median(plain), unit="ms"),
        Figure(name="the same without filters, p99", value=quantiles(plain, n=100)[98], unit="ms"),
        Figure(
            name=f"recall at 10 of the vector part against exact, {what}",
            value=found,
            unit="",
            bar=recall,
            better="higher",
        ),
        Figure(name=f"file for each of {what}", value=size_bytes, unit="bytes", bar=BYTES_PER_ROW),
    ]


async def _size_bytes(database: Database) -> int:
    with TemporaryDirectory() as directory:
        copy = Path(directory) / "copy.db"
        await database.backup(copy)  # without what still stands in the log
        return (await anyio.Path(copy).stat()).st_size


def _ratios(times: Mapping[str, float | None], own: float, *, bar: float) -> list[Figure]:
    return [
        Figure(
            name=f"{name} / ours, the same",
            value=None if value is None else value / own,
            unit="x",
            bar=bar,
            better="higher",
        )
        for name, value in times.items()
        if name in ("qdrant_client", "lancedb")
    ]


async def _many_agents(agents: int, memories: int, rounds: int, quick: bool) -> list[Figure]:
    embedder = TopicEmbedder(MEMORIES)
    asked = questions(rounds)
    async with opened(embedder) as (store, database):
        own = texts(memories)
        await fill(database, embedder, [("agent-0", text) for text in own])
        alone = await _times(lambda n: _search(store, "agent-0", asked[n]), rounds)
        await fill(
            database, embedder, [(f"agent-{n}", text) for n in range(1, agents) for text in own]
        )
        among = await _times(
            lambda n: _search(store, f"agent-{n % agents}", asked[n], is_filtered=True), rounds
        )
    rows = Rows(
        embedder.vectors[np.arange(agents * memories) % MEMORIES],
        own * agents,
        np.arange(agents * memories) // memories,
        asked,
    )
    sizes = {"numpy": agents * memories} if quick else dict(MANY_AGENTS_PEERS)
    times = search_times(rows, sizes, _PEER_ROUNDS)
    return [
        Figure(
            name=f"hybrid search with filters, {agents:,} agents of {memories:,} memories, p50",
            value=median(among),
            unit="ms",
            bar=5.0,
            peer="one agent's: "
            + ", ".join(
                f"{shown({name: times[name]})} among {size // memories:,} agents"
                for name, size in sizes.items()
            ),
        ),
        *_ratios(times, median(among), bar=10.0),
        Figure(
            name="the same / alone in the file, without filters",
            value=median(among) / median(alone),
            unit="x",
            bar=3.0,
            peer=f"alone: {median(alone):.2f} ms",
        ),
    ]


async def _over_mcp(rounds: int) -> list[Figure]:
    """Measure whole calls of a client, with the default embedder, on disk."""
    contents, asked = texts(rounds), questions(rounds)
    with TemporaryDirectory() as directory:
        config = Config.model_validate(
            {"kernel": {"data_dir": directory}, "memory": {"embedder": "static"}}
        )
        async with open_kernel(config) as app, Client(_server(app)) as client:
            added = await _times(
                lambda n: client.call_tool("add_memory", {"content": contents[n]}), rounds
            )
            found = await _times(
                lambda n: client.call_tool("search_memory", {"query": asked[n]}), rounds
            )
    return [
        Figure(
            name=f"{tool} over MCP, default embedder, p50", value=median(times), unit="ms", bar=25
        )
        for tool, times in (("add_memory", added), ("search_memory", found))
    ]


def _server(app: App) -> AiosServer:
    surface = Surface(
        kernel=app.kernel,
        agents=app.agents,
        default_agent=app.config.kernel.default_agent,
        exposed={},
    )
    return build_server(surface)


async def _embedding(rounds: int) -> list[Figure]:
    given = texts(rounds)
    static = StaticEmbedder()
    await static.embed(given)  # the tokeniser has seen the words, as after some use
    times = await _times(lambda n: static.embed([given[n]]), rounds)
    figures = [
        Figure(
            name=f"static embedding, {WORDS_PER_MEMORY} words, p50",
            value=median(times) * 1000,
            unit="us",
        )
    ]
    async with opened_minilm() as minilm:
        if minilm is None:
            return figures
        await minilm.embed(given[:1])
        times = await _times(lambda n: minilm.embed([given[n]]), max(10, rounds // 10))
    name = f"MiniLM embedding by llama.cpp, {WORDS_PER_MEMORY} words, p50"
    return [*figures, Figure(name=name, value=median(times), unit="ms")]


async def _search(
    store: SqliteMemoryStore, owner: str, text: str, *, is_filtered: bool = False
) -> None:
    kinds, tags = (("fact",), ("odd",)) if is_filtered else ((), ())
    query = MemoryQuery(text=text, kinds=kinds, tags=tags)
    assert await store.search(query, [Reach(owner, ("self/*",))])


async def _recall(store: SqliteMemoryStore, embedder: TopicEmbedder, rounds: int) -> float:
    """Give the share of the ten nearest that a search by vectors finds."""
    found = 0
    for number in range(rounds):
        text = f"next {number}"
        [vector] = await embedder.embed([text])
        likeness = embedder.vectors @ vector
        exact = {f"{each:026x}" for each in np.argpartition(-likeness, 10)[:10]}
        embedder.rewind()
        query = MemoryQuery(text=text, mode="vector", k=10)
        hits = await store.search(query, [Reach("ada", ("self/*",))])
        found += len(exact & {hit.id for hit in hits})
    return found / (10 * rounds)


async def _times(call: Callable[[int], Awaitable[object]], rounds: int) -> list[float]:
    """Give the milliseconds of each call."""
    times: list[float] = []
    for number in range(rounds):
        start = time.perf_counter_ns()
        await call(number)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times
