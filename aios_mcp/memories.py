"""Opens the memory store that the configuration names. Part of the composition root, like `app`."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from aios_mcp.config import Config, ConfigError, resolve_secret
from aios_mcp.config.model import MemoryPart
from aios_mcp.directories import Directories
from backends.database import Database
from backends.memory_store import SqliteMemoryStore, keep_in_order
from backends.protocols import Embedder, MemoryStore

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
        own = SqliteMemoryStore(database, embedder, now=now, new_id=new_id, quota=quota)
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
