"""Memory stores in a database of their own."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from backends.postgres_memory import PostgresMemoryStore, PostgresSettings, open_postgres_memory
from backends.protocols import Embedder
from tests.backends.memory_store.embedders import WordEmbedder
from tests.backends.memory_store.stores import PLENTY, Clock, numbered_ids


@asynccontextmanager
async def open_store(
    url: str,
    embedder: Embedder | None = None,
    *,
    clock: Clock | None = None,
    quota: tuple[int, int] = PLENTY,
    new_id: Callable[[], str] | None = None,
    graph_rows: int = 20_000,
) -> AsyncGenerator[PostgresMemoryStore]:
    async with open_postgres_memory(
        PostgresSettings(url=url, graph_rows=graph_rows),
        embedder or WordEmbedder(),
        now=clock or Clock(),
        new_id=new_id or numbered_ids(),
        quota=lambda _: quota,
    ) as store:
        yield store
