"""Composition root: builds the kernel from a configuration. The only module that names adapters."""

import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aios_mcp.config import Config, ConfigError, resolve_secret
from aios_mcp.config.model import (
    AgentPart,
    ArgumentPart,
    CorePart,
    LlamaCorePart,
    OpenAICorePart,
    ServerPart,
)
from aios_mcp.directories import Directories, absolute
from aios_mcp.kernel import Agent, Agents, Allowance, ArgumentRule, Grants, Kernel
from aios_mcp.kernel.cores import FREE, Core, Cores, Price
from aios_mcp.kernel.gate import Gate
from aios_mcp.kernel.kernel import MEMORY, Waits, tools_resource
from aios_mcp.kernel.tokens import load_or_create_key
from aios_mcp.kernel.tool_catalog import ToolCatalog
from aios_mcp.model_files import MINILM_FILE, models_dir, resolve_model
from backends.database import Database, open_database
from backends.embedding import StaticEmbedder
from backends.errors import StoreError
from backends.journal import JOURNAL, SqliteJournal
from backends.llama_cpp import (
    BUNDLED_MODEL,
    LlamaSettings,
    open_llama_core,
    open_llama_embedder,
)
from backends.memory_store import MEMORY_STORE, SqliteMemoryStore, keep_in_order
from backends.protocols import Embedder, LLMCore, ToolServer
from backends.tool_servers import HttpServer, StdioServer, open_tool_server
from scheduler import Scheduler, SchedulerDriver
from scheduler.policies import Deadline, Fair, Fifo, Policy, Priority

_LIST_SECONDS = 25.0
_UPKEEP_SECONDS = 3600.0


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
        StoreError: The data directory cannot be used.
    """
    directories = Directories.of(config, base or Path.cwd())
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            open_database(directories.data / "aios.db", (JOURNAL, MEMORY_STORE))
        )
        journal = SqliteJournal(database, now=_wall_clock)
        await journal.recover()
        token_key = load_or_create_key(directories.data)
        agents = _agents(config, directories, token_key)
        embedder = await open_embedder(stack, config, directories)
        store = SqliteMemoryStore(
            database,
            embedder,
            now=_wall_clock,
            new_id=_new_id,
            quota=lambda owner: _memory_quota(config, owner),
        )
        await stack.enter_async_context(keep_in_order(store, every_seconds=_UPKEEP_SECONDS))
        cores = [
            await _open_core(stack, name, part, config, directories)
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
            driver=SchedulerDriver(_scheduler(config)),
            cores=Cores(cores),
            catalog=ToolCatalog(servers, list_seconds=_LIST_SECONDS),
            memories=store,
            journal=journal,
            waits=Waits(
                queue=config.limits.queue_seconds,
                generate=config.limits.generate_seconds,
                tool=config.limits.tool_seconds,
                memory=config.limits.memory_seconds,
            ),
            now=_wall_clock,
        )
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
    return secrets.token_hex(13)


def _scheduler(config: Config) -> Scheduler:
    slots = {name: part.slots for name, part in config.cores.items()}
    slots |= {tools_resource(name): part.concurrency for name, part in config.servers.items()}
    slots[MEMORY] = config.limits.memory_slots
    return Scheduler(
        slots,
        _policy(config),
        max_waiting=config.limits.queue_total,
        max_waiting_per_agent=config.limits.queue_per_agent,
    )


def _policy(config: Config) -> Policy:
    match config.scheduler.policy:
        case "fair":
            return Fair({name: part.share for name, part in config.agents.items()})
        case "fifo":
            return Fifo()
        case "priority":
            return Priority(config.scheduler.ageing_seconds)
        case "deadline":
            return Deadline()


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
    return Agents(
        {name: _agent(name, part, directories.base) for name, part in config.agents.items()},
        secrets={name: secret for secret, name in owners.items()},
        token_key=token_key,
        now=_wall_clock,
    )


def _agent(name: str, part: AgentPart, base: Path) -> Agent:
    usd = part.llm.usd_per_day
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
        ),
        allowance=Allowance(
            tokens_per_day=part.llm.tokens_per_day,
            micro_usd_per_day=None if usd is None else round(usd * 1e6),
            calls_per_minute=None if part.rate is None else int(part.rate.partition("/")[0]),
            generations_at_once=part.llm.concurrency,
            memory_rows=part.memory.max_rows,
            memory_bytes=round(part.memory.max_mb * 1e6),
        ),
    )


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


def _memory_quota(config: Config, owner: str) -> tuple[int, int]:
    part = config.agents.get(owner)
    # The partition that agents share has room for all of them.
    parts = [part] if part is not None else list(config.agents.values())
    rows = sum(each.memory.max_rows for each in parts)
    return rows, round(sum(each.memory.max_mb for each in parts) * 1e6)


# --- Adapters ----------------------------------------------------------------------------------


async def _open_core(
    stack: AsyncExitStack, name: str, part: CorePart, config: Config, directories: Directories
) -> Core:
    llm: LLMCore
    price: Price | None = FREE
    if isinstance(part, LlamaCorePart):
        settings = _llama_settings(name, part, directories)
        llm = await stack.enter_async_context(open_llama_core(settings))
    else:
        llm = await _open_remote(stack, name, part, config, directories)
        price = None if part.price is None else _price(part)
    return Core(
        name=name,
        backend=part.backend,
        llm=llm,
        tiers=part.tiers,
        slots=part.slots,
        price=price,
    )


def _llama_settings(name: str, part: LlamaCorePart, directories: Directories) -> LlamaSettings:
    if part.model == "bundled":
        model = BUNDLED_MODEL
    else:
        with _named(f"cores.{name}.model"):
            model = resolve_model(part.model, cache_dir=directories.cache, base=directories.base)
    return LlamaSettings(
        model=model,
        name=name,
        slots=part.slots,
        context_tokens=part.context_tokens,
        threads=part.threads,
        gpu_layers=part.gpu_layers,
        main_gpu=part.main_gpu,
        split_mode=part.split_mode,
        flash_attention=part.flash_attention,
        kv_type=part.kv_type,
        temperature=part.temperature,
        start_deadline_seconds=part.start_seconds,
        cache_dir=directories.cache,
    )


async def _open_remote(
    stack: AsyncExitStack,
    name: str,
    part: OpenAICorePart,
    config: Config,
    directories: Directories,
) -> LLMCore:
    # Imported here: the OpenAI client takes a second to load, and many kernels have no such core.
    from backends.openai_compatible import OpenAISettings, open_openai_core

    with _named(f"cores.{name}.api_key"):
        key = None if part.api_key is None else resolve_secret(part.api_key, directories.base)
    settings = OpenAISettings(
        name=name,
        base_url=part.base_url,
        model=part.model,
        api_key=key,
        context_tokens=part.context_tokens,
        total_deadline_seconds=config.limits.generate_seconds,
        idle_deadline_seconds=part.idle_seconds,
        connect_deadline_seconds=part.connect_seconds,
        supports_schema=part.schema_output,
        max_tokens_field=part.max_tokens_field,
        max_connections=part.slots,
    )
    return await stack.enter_async_context(open_openai_core(settings))


def _price(part: OpenAICorePart) -> Price:
    assert part.price is not None
    cached = part.price.input if part.price.cached_input is None else part.price.cached_input
    return Price(input=part.price.input, cached_input=cached, output=part.price.output)


async def open_embedder(
    stack: AsyncExitStack, config: Config, directories: Directories
) -> Embedder:
    """Open the embedder that the configuration chooses; the stack closes it.

    Raises:
        ConfigError: Its model is not there.
    """
    wanted = config.memory.embedder
    minilm = models_dir(directories.cache) / MINILM_FILE
    if wanted == "static" or (wanted == "auto" and not minilm.exists()):
        return StaticEmbedder()
    spec = "minilm" if wanted == "auto" else wanted
    with _named("memory.embedder"):
        model = resolve_model(spec, cache_dir=directories.cache, base=directories.base)
    settings = LlamaSettings(model=model, name=model.stem, cache_dir=directories.cache)
    return await stack.enter_async_context(open_llama_embedder(settings))


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
