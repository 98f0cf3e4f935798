"""Composition root: builds the kernel from a configuration. The only module that names adapters."""

import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from anyio import to_thread

from aios_mcp.config import Config, ConfigError, resolve_secret
from aios_mcp.config.core_parts import CorePart, OpenAICorePart, PricePart
from aios_mcp.config.model import AgentPart, ArgumentPart, ServerPart
from aios_mcp.config.part import per_minute
from aios_mcp.directories import Directories, absolute
from aios_mcp.kernel import Agent, Agents, Allowance, ArgumentRule, Grants, Kernel
from aios_mcp.kernel.cores import FREE, Core, Cores, Price
from aios_mcp.kernel.errands import Errands
from aios_mcp.kernel.gate import Gate
from aios_mcp.kernel.kernel import Waits
from aios_mcp.kernel.kinds import Kinds
from aios_mcp.kernel.routing import Router
from aios_mcp.kernel.tokens import load_or_create_key
from aios_mcp.kernel.tool_catalog import ToolCatalog
from aios_mcp.local_models import check_room, llama_settings, open_pool
from aios_mcp.memories import COMPONENTS, keep_sessions, open_memories, session_parts
from aios_mcp.model_files import MINILM_FILE, models_dir, resolve_model
from aios_mcp.scheduling import build_scheduler
from backends.database import Database, open_database
from backends.embedding import StaticEmbedder
from backends.errors import StoreError
from backends.journal import SqliteJournal
from backends.llama_cpp import (
    LlamaSettings,
    ModelPool,
    open_llama_core,
    open_llama_embedder,
)
from backends.protocols import Embedder, LLMCore, ToolServer
from backends.tool_servers import HttpServer, StdioServer, open_tool_server
from scheduler import SchedulerDriver

_LIST_SECONDS = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A running kernel and what the surface needs beside it."""

    kernel: Kernel
    agents: Agents
    config: Config
    directories: Directories
    database: Database
    cores: tuple[LLMCore, ...]

    async def is_ready(self) -> bool:
        """Whether calls can be served: the database takes writes, and some core has not failed."""
        try:
            await self.database.write(lambda _: None)
        except StoreError:
            return False
        return any(core.status().state != "failed" for core in self.cores)


@asynccontextmanager
async def open_kernel(config: Config, base: Path | None = None) -> AsyncGenerator[App]:
    """Run a kernel for the length of the block.

    Args:
        config: What to build.
        base: Directory of the configuration file; None is the working directory.

    Raises:
        ConfigError: A secret or a model that the configuration names is not there.
        StoreError: The data directory, or the database of memories, cannot be used.
    """
    directories = Directories.of(config, base or Path.cwd())
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            open_database(directories.data / "aios.db", COMPONENTS)
        )
        journal = SqliteJournal(database, now=_wall_clock)
        await journal.recover()
        stack.push_async_callback(journal.settle)
        token_key = load_or_create_key(directories.data)
        agents = _agents(config, directories, token_key)
        sessions = session_parts(config, database, agents, now=_wall_clock)
        pool = await to_thread.run_sync(open_pool, config.limits)
        embedder = await open_embedder(stack, config, directories, pool)
        memories = await open_memories(
            stack, config, directories, database, embedder, now=_wall_clock, new_id=_new_id
        )
        cores = [
            await _open_core(stack, name, part, config, directories, pool)
            for name, part in config.cores.items()
        ]
        servers = {
            name: await _open_server(stack, name, part, config, directories)
            for name, part in config.servers.items()
        }
        kernel = Kernel(
            gate=Gate(
                journal, digest_key=_derive(token_key, b"audit"), now=_wall_clock, new_id=_new_id
            ),
            driver=SchedulerDriver(build_scheduler(config)),
            cores=Cores(cores),
            catalog=ToolCatalog(servers, list_seconds=_LIST_SECONDS),
            memories=memories,
            journal=journal,
            waits=Waits(
                queue=config.limits.queue_seconds,
                generate=config.limits.generate_seconds,
                tool=config.limits.tool_seconds,
                memory=config.limits.memory_seconds,
            ),
            now=_wall_clock,
            kinds=Kinds({name: part.json_schema() for name, part in config.memory.kinds.items()}),
            shares={name: part.share for name, part in config.agents.items()},
            router=Router(prefer=config.router.prefer, spill_seconds=config.router.spill_seconds),
            working=sessions.working,
            extraction=sessions.extraction,
            errands=Errands([name for name, part in config.servers.items() if part.calls_back]),
        )
        await stack.enter_async_context(keep_sessions(sessions, kernel))
        yield App(
            kernel=kernel,
            agents=agents,
            config=config,
            directories=directories,
            database=database,
            cores=tuple(core.llm for core in cores),
        )


@contextmanager
def _named(key: str) -> Generator[None]:
    """Say of which key of the configuration a problem is."""
    try:
        yield
    except ConfigError as exc:
        raise ConfigError(*(f"{key}: {problem}" for problem in exc.problems)) from exc


def _wall_clock() -> float:
    return time.time()  # noqa: TID251 - the one place that reads it; all others are given `now`


def _derive(key: bytes, purpose: bytes) -> bytes:
    return hmac.new(key, purpose, hashlib.sha256).digest()


def _new_id() -> str:
    """Give an id that nobody can guess; indexes take those of one moment in one place."""
    return f"{int(_wall_clock() * 1000):011x}{secrets.randbits(60):015x}"


# --- Agents ------------------------------------------------------------------------------------


def _agents(config: Config, directories: Directories, token_key: bytes) -> Agents:
    tokens = {name: part.token for name, part in config.agents.items() if part.token is not None}
    owners: dict[str, str] = {}
    for name, token in tokens.items():
        with _named(f"agents.{name}.token"):
            secret = resolve_secret(token, directories.base)
            if secret in owners:
                raise ConfigError(f"is that of agent {owners[secret]!r} too; change one")
            owners[secret] = name
    agents = {name: _agent(name, part, directories.base) for name, part in config.agents.items()}
    for name, part in config.agents.items():
        if part.superior is not None:
            agents[name] = replace(agents[name], superior=agents[part.superior])
    return Agents(
        agents,
        secrets={name: secret for secret, name in owners.items()},
        token_key=token_key,
        now=_wall_clock,
    )


def _agent(name: str, part: AgentPart, base: Path) -> Agent:
    return Agent(
        name=name,
        grants=Grants(
            tools=(part.tools,),
            deny=part.deny,
            arguments=tuple(_argument_rule(rule, base) for rule in part.args),
            read=part.memory.read,
            write=part.memory.write,
            tiers=frozenset(part.llm.tiers),
            cores=frozenset(part.llm.cores),
            max_tokens=part.llm.max_tokens,
            observe=part.observe,
        ),
        allowance=Allowance(
            tokens_per_day=part.llm.tokens_per_day,
            micro_usd_per_day=_micro(part.llm.usd_per_day),
            micro_usd_per_call=_micro(part.llm.usd_per_call),
            calls_per_minute=per_minute(part.rate),
            generations_at_once=part.llm.concurrency,
            memory_rows=part.memory.max_rows,
            memory_bytes=round(part.memory.max_mb * 1e6),
            adds_per_minute=per_minute(part.memory.add_rate),
        ),
    )


def _micro(usd: float | None) -> int | None:
    return None if usd is None else round(usd * 1e6)


def _argument_rule(part: ArgumentPart, base: Path) -> ArgumentRule:
    return ArgumentRule(
        tool=part.tool,
        path=part.path,
        under=None if part.under is None else str(absolute(part.under, base)),
        eq=part.eq,
        one_of=part.one_of,
        glob=part.glob,
        max=part.max,
    )


# --- Adapters ----------------------------------------------------------------------------------


async def _open_core(
    stack: AsyncExitStack,
    name: str,
    part: CorePart,
    config: Config,
    directories: Directories,
    pool: ModelPool,
) -> Core:
    if isinstance(part, OpenAICorePart):
        return await _open_remote(stack, name, part, config, directories)
    with _named(f"cores.{name}.model"):
        model = resolve_model(part.model, cache_dir=directories.cache, base=directories.base)
    settings = llama_settings(name, part, model, config.limits, directories.cache)
    with _named(f"cores.{name}"):
        await to_thread.run_sync(check_room, settings, pool)
    return Core(
        name=name,
        backend=part.backend,
        llm=await stack.enter_async_context(open_llama_core(settings, pool)),
        tiers=part.tiers,
        slots=part.slots,
        price=FREE,
    )


async def _open_remote(
    stack: AsyncExitStack,
    name: str,
    part: OpenAICorePart,
    config: Config,
    directories: Directories,
) -> Core:
    from aios_mcp.endpoints import core_settings
    from backends.openai_compatible import open_openai_core

    key = _secret(f"cores.{name}.api_key", part.api_key, directories)
    settings = core_settings(name, part, config.limits, key)
    return Core(
        name=name,
        backend=part.backend,
        llm=await stack.enter_async_context(open_openai_core(settings)),
        tiers=part.tiers,
        slots=part.slots,
        price=None if part.price is None else _price(part.price),
        is_loopback=settings.is_loopback,
    )


def _price(part: PricePart) -> Price:
    cached = part.input if part.cached_input is None else part.cached_input
    return Price(input=part.input, cached_input=cached, output=part.output)


def _secret(key: str, reference: str | None, directories: Directories) -> str | None:
    with _named(key):
        return None if reference is None else resolve_secret(reference, directories.base)


async def open_embedder(
    stack: AsyncExitStack,
    config: Config,
    directories: Directories,
    pool: ModelPool | None = None,
) -> Embedder:
    """Open the embedder that the configuration chooses; the stack closes it.

    A local one is never moved out of memory: the pool, where there is one, keeps room for it.

    Raises:
        ConfigError: Its model is not there, or does not fit.
    """
    wanted = config.memory.embedder
    if wanted in config.embedders:
        return await _open_remote_embedder(stack, wanted, config, directories)
    minilm = models_dir(directories.cache) / MINILM_FILE
    if wanted == "static" or (wanted == "auto" and not minilm.exists()):
        return StaticEmbedder()
    spec = "minilm" if wanted == "auto" else wanted
    with _named("memory.embedder"):
        model = resolve_model(spec, cache_dir=directories.cache, base=directories.base)
    settings = LlamaSettings(model=model, name=model.stem, cache_dir=directories.cache)
    if pool is not None:
        with _named("memory.embedder"):
            plan = await to_thread.run_sync(check_room, settings, pool)
        stack.enter_context(pool.set_aside(plan.total_bytes))
    return await stack.enter_async_context(open_llama_embedder(settings))


async def _open_remote_embedder(
    stack: AsyncExitStack, name: str, config: Config, directories: Directories
) -> Embedder:
    from aios_mcp.endpoints import embedder_settings
    from backends.openai_compatible import open_openai_embedder

    # Asked for in so many words: whoever names an endpoint may not mean memories to leave.
    if not config.memory.embeddings_may_leave:
        raise ConfigError(
            f"memory.embedder: embedders.{name} sends all memories to an endpoint;"
            " set memory.embeddings_may_leave = true to allow it, or take another embedder"
        )
    part = config.embedders[name]
    key = _secret(f"embedders.{name}.api_key", part.api_key, directories)
    settings = embedder_settings(name, part, key)
    return await stack.enter_async_context(open_openai_embedder(settings))


async def _open_server(
    stack: AsyncExitStack, name: str, part: ServerPart, config: Config, directories: Directories
) -> ToolServer:
    settings: StdioServer | HttpServer
    if part.url is None:
        settings = StdioServer(
            command=part.command,
            env=_resolved(f"servers.{name}.env", part.env, directories.base),
            cwd=None if part.cwd is None else absolute(part.cwd, directories.base),
            connect_deadline_seconds=part.connect_seconds,
            call_deadline_seconds=config.limits.tool_seconds,
            max_result_bytes=part.max_result_bytes,
        )
    else:
        settings = HttpServer(
            url=part.url,
            headers=_resolved(f"servers.{name}.headers", part.headers, directories.base),
            transport=part.transport,
            connect_deadline_seconds=part.connect_seconds,
            call_deadline_seconds=config.limits.tool_seconds,
            max_result_bytes=part.max_result_bytes,
        )
    return await stack.enter_async_context(open_tool_server(name, settings))


def _resolved(key: str, values: Mapping[str, str], base: Path) -> dict[str, str]:
    resolved = dict(values)
    for name, value in values.items():
        if value.startswith(("env:", "file:")):
            with _named(f"{key}.{name}"):
                resolved[name] = resolve_secret(value, base)
    return resolved
