"""Opens the memory store that the configuration names, and what works beside it.

Part of the composition root, like `app`.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple

import anyio

from aios_mcp.config import Config, ConfigError, resolve_secret
from aios_mcp.config.memory_parts import MemoryPart
from aios_mcp.directories import Directories
from aios_mcp.kernel import Agents, Kernel
from aios_mcp.kernel.extraction import Extraction
from aios_mcp.kernel.extraction_rules import ExtractionRules
from aios_mcp.kernel.working_memory import WorkingMemory
from backends.database import Database
from backends.journal import JOURNAL
from backends.memory_store import MEMORY_STORE, SqliteMemoryStore, keep_in_order
from backends.protocols import Embedder, MemoryStore
from backends.sessions import SESSIONS, SqliteSessions

COMPONENTS = (JOURNAL, MEMORY_STORE, SESSIONS)
"""Whose tables stand in the database of the data directory."""

_UPKEEP_SECONDS = 3600.0


async def open_memories(
    stack: AsyncExitStack,
    config: Config,
    directories: Directories,
    database: Database,
    embedder: Embedder,
    *,
    now: Callable[[], float],
    new_id: Callable[[], str],
) -> MemoryStore:
    """Open the memories and keep them in order for as long as the stack is open.

    Raises:
        ConfigError: Its password, or the driver for it, is not there.
        StoreError: It cannot be reached, or used.
    """

    def quota(owner: str) -> tuple[int, int]:
        return _quota(config, owner)

    if config.memory.url is None:
        own = SqliteMemoryStore(
            database,
            embedder,
            now=now,
            new_id=new_id,
            quota=quota,
            cache_bytes=config.memory.cache_mb << 20,
        )
        await stack.enter_async_context(keep_in_order(own, every_seconds=_UPKEEP_SECONDS))
        return own
    password = _password(config.memory, directories)
    try:
        from backends.postgres_memory import PostgresSettings, open_postgres_memory
    except ModuleNotFoundError as exc:
        raise ConfigError(
            "memory.url: PostgreSQL needs its driver; run pip install 'aios-mcp[postgres]'"
        ) from exc
    settings = PostgresSettings(
        url=config.memory.url, password=password, connections=config.memory.connections
    )
    shared = await stack.enter_async_context(
        open_postgres_memory(settings, embedder, now=now, new_id=new_id, quota=quota)
    )
    await stack.enter_async_context(keep_in_order(shared, every_seconds=_UPKEEP_SECONDS))
    return shared


class SessionParts(NamedTuple):
    """What the kernel does with sessions; no extraction where no agent asks for it."""

    store: SqliteSessions
    working: WorkingMemory
    extraction: Extraction | None


def session_parts(
    config: Config, database: Database, agents: Agents, *, now: Callable[[], float]
) -> SessionParts:
    """Make what keeps the last exchanges of sessions."""
    part, extract = config.memory.sessions, config.memory.extract
    sessions = SqliteSessions(
        database,
        now=now,
        per_session=part.max_turns,
        per_agent=part.max_in_all,
        keep_seconds=part.hours * 3600,
    )
    working = WorkingMemory(
        sessions, now=now, extracts=extract.agents, seconds=config.limits.memory_seconds
    )
    if not extract.agents:
        return SessionParts(sessions, working, None)
    rules = ExtractionRules(
        agents=extract.agents,
        model=extract.model,
        kinds=extract.kinds,
        most=extract.max_memories,
        after_turns=extract.after_turns,
        idle_seconds=extract.idle_seconds,
        max_tokens=extract.max_tokens,
        prompt_tokens=extract.prompt_tokens,
    )
    return SessionParts(sessions, working, Extraction(sessions, agents, rules))


@asynccontextmanager
async def keep_sessions(parts: SessionParts, kernel: Kernel) -> AsyncGenerator[None]:
    """Purge sessions and extract memories from them for the length of the block."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(parts.store.keep_short, every_seconds=_UPKEEP_SECONDS))
        if parts.extraction is not None:
            tasks.start_soon(parts.extraction.run, kernel)
        yield
        tasks.cancel_scope.cancel()


def _password(part: MemoryPart, directories: Directories) -> str | None:
    if part.password is None:
        return None
    try:
        return resolve_secret(part.password, directories.base)
    except ConfigError as exc:
        raise ConfigError(*(f"memory.password: {problem}" for problem in exc.problems)) from exc


def _quota(config: Config, owner: str) -> tuple[int, int]:
    part = config.agents.get(owner)
    # The partition that agents share has room for all of them.
    parts = [part] if part is not None else list(config.agents.values())
    rows = sum(each.memory.max_rows for each in parts)
    return rows, round(sum(each.memory.max_mb for each in parts) * 1e6)
