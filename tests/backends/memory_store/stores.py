"""Memory stores over a file of their own."""

import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from backends.database import Database, open_database
from backends.database.connections import open_reader
from backends.memory_store import MEMORY_STORE, SqliteMemoryStore, check_memories
from backends.messages import MemoryQuery, Place, Reach, SearchMode
from backends.protocols import Embedder, MemoryStore
from tests.backends.memory_store.embedders import WordEmbedder

NOW = 1_790_000_000.0
PLENTY = (1_000_000, 1_000_000_000)


@dataclass
class Clock:
    """Time that a test moves."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def numbered_ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"m{next(numbers)}"


@dataclass(kw_only=True)
class Opened:
    store: SqliteMemoryStore
    database: Database
    clock: Clock = field(default_factory=Clock)

    async def problems(self) -> list[str]:
        """What is wrong with the file."""
        return await anyio.to_thread.run_sync(_problems, self.database.path)


def _problems(path: Path) -> list[str]:
    # On a new connection: FTS5's part of the check does not notice that others wrote meanwhile.
    reader = open_reader(path)
    rows = reader.execute("PRAGMA integrity_check").fetchall()
    found = [*(str(row[0]) for row in rows if row[0] != "ok"), *check_memories(reader)]
    reader.close()
    return found


@asynccontextmanager
async def open_store(
    directory: Path,
    embedder: Embedder | None = None,
    *,
    clock: Clock | None = None,
    quota: tuple[int, int] = PLENTY,
    new_id: Callable[[], str] | None = None,
) -> AsyncGenerator[Opened]:
    clock = clock or Clock()
    async with open_database(directory / "memory.db", [MEMORY_STORE]) as database:
        store = SqliteMemoryStore(
            database,
            embedder or WordEmbedder(),
            now=clock,
            new_id=new_id or numbered_ids(),
            quota=lambda _: quota,
        )
        yield Opened(store=store, database=database, clock=clock)


def place(owner: str = "ada", namespace: str = "self") -> Place:
    return Place(owner, namespace)


def own(owner: str = "ada") -> list[Reach]:
    return [Reach(owner, ("self/*",))]


async def found(
    store: MemoryStore,
    text: str,
    reach: list[Reach] | None = None,
    *,
    mode: SearchMode = "keyword",
    k: int = 50,
) -> list[str]:
    """Contents of the hits, best first."""
    hits = await store.search(MemoryQuery(text=text, mode=mode, k=k), reach or own())
    return [hit.content for hit in hits]
