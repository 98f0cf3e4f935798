"""What the configuration file may say, as frozen models. Reading the file is `load`'s work."""

from collections.abc import Collection
from typing import Literal, Self

from pydantic import Field, model_validator

from aios_mcp.config.core_parts import (
    CorePart,
    EmbedderPart,
    LlamaCorePart,
    OpenAICorePart,
    RouterPart,
)
from aios_mcp.config.memory_parts import AgentMemoryPart, MemoryPart
from aios_mcp.config.part import ADDRESS, Name, Part, Rate, SecretRef
from aios_mcp.config.scheduler_parts import SchedulerPart


class KernelPart(Part):
    """`[kernel]`."""

    data_dir: str = Field(
        default="", description="Where memories and audit live; empty is the user's data directory"
    )
    cache_dir: str = Field(
        default="", description="Where models are kept; empty is the user's cache directory"
    )
    default_agent: Name = Field(default="local", description="The agent that stdio speaks for")
    expose: Literal["gateway", "passthrough"] = Field(
        default="gateway",
        description="passthrough also publishes downstream tools under their own names",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="What stderr shows"
    )


class LimitsPart(Part):
    """`[limits]`: every wait and every line has one."""

    queue_total: int = Field(
        default=256, ge=1, le=100_000, description="Calls that may wait in all"
    )
    queue_per_agent: int = Field(
        default=16, ge=1, le=100_000, description="Calls of one agent that may wait"
    )
    queue_seconds: float = Field(default=30.0, gt=0, le=3600, description="Longest wait for a slot")
    generate_seconds: float = Field(
        default=300.0, gt=0, le=86_400, description="Longest generation"
    )
    tool_seconds: float = Field(
        default=60.0, gt=0, le=86_400, description="Longest downstream call"
    )
    memory_seconds: float = Field(default=30.0, gt=0, le=3600, description="Longest memory call")
    memory_slots: int = Field(default=16, ge=1, le=1024, description="Memory calls at work at once")
    model_memory_mb: int = Field(
        default=0,
        ge=0,
        le=10**8,
        description="Main memory for the models of all llama_cpp cores together; those that do not"
        " fit at once take turns; 0 is nine tenths of what is free at the start",
    )
    shutdown_seconds: float = Field(
        default=1.0, gt=0, le=60, description="Grace for calls in flight at the end"
    )


class HttpPart(Part):
    """`[http]`."""

    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="Host headers accepted besides loopback, as host or host:port"
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(), description="Origins accepted besides loopback ones, as scheme://host[:port]"
    )
    allow_unauthenticated: bool = Field(
        default=False, description="Serve other hosts than loopback without credentials"
    )
    max_body_bytes: int = Field(
        default=4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Largest request body"
    )
    max_connections: int = Field(
        default=1024, ge=1, le=100_000, description="Connections open at once"
    )
    body_seconds: float = Field(
        default=30.0, gt=0, le=600, description="Longest time a request body may take to arrive"
    )
    sse: bool = Field(
        default=True, description="Serve the legacy SSE transport on /sse and /messages/"
    )


class ArgumentPart(Part):
    """One entry of `args` of an agent: what an argument of matching tools must satisfy."""

    tool: str = Field(description="Pattern of tool names, such as fs.read_*")
    path: str = Field(description="Name of the argument, with dots for nested ones")
    under: str | None = Field(
        default=None, description="The argument is a path inside this directory"
    )
    eq: str | int | float | bool | None = Field(
        default=None, description="The argument equals this"
    )
    one_of: tuple[str | int | float | bool, ...] | None = Field(
        default=None, description="The argument is one of these"
    )
    glob: str | None = Field(default=None, description="The argument matches this pattern")
    max: float | None = Field(default=None, description="The argument is a number of at most this")

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        tests = [self.under, self.eq, self.one_of, self.glob, self.max]
        if sum(test is not None for test in tests) != 1:
            raise ValueError("needs exactly one of: under, eq, one_of, glob, max")
        return self


class AgentLlmPart(Part):
    """`llm` of an agent."""

    tiers: tuple[Name, ...] = Field(default=(), description="Tiers it may use")
    cores: tuple[Name, ...] = Field(
        default=(), description="Cores it may name besides those of its tiers"
    )
    max_tokens: int = Field(
        default=8192, ge=1, le=1_000_000, description="Most tokens of one answer"
    )
    tokens_per_day: int | None = Field(
        default=None, ge=1, le=10**15, description="Tokens a day (UTC), prompts included"
    )
    usd_per_day: float | None = Field(default=None, gt=0, le=1e9, description="Dollars a day (UTC)")
    usd_per_call: float | None = Field(
        default=None, gt=0, le=1e9, description="Dollars that one generation may cost at most"
    )
    concurrency: int | None = Field(default=None, ge=1, le=1024, description="Generations at once")


class AgentPart(Part):
    """`[agents.NAME]`: default deny; what is not granted here is refused."""

    token: SecretRef | None = Field(
        default=None, description="Its bearer token for HTTP, as env:VARIABLE or file:PATH"
    )
    tools: tuple[str, ...] = Field(
        default=(), description="Patterns of tools it may call, such as fs.read_*"
    )
    deny: tuple[str, ...] = Field(
        default=(), description="Patterns it may not call whatever tools says"
    )
    args: tuple[ArgumentPart, ...] = Field(default=(), description="Conditions on arguments")
    memory: AgentMemoryPart = Field(default_factory=AgentMemoryPart)
    llm: AgentLlmPart = Field(default_factory=AgentLlmPart)
    rate: Rate | None = Field(default=None, description="Calls a minute, such as 60/min")
    superior: Name | None = Field(
        default=None,
        description="The agent whose sub-agent it is: its work counts towards that one's budget and"
        " share as well",
    )
    observe: bool = Field(
        default=False,
        description="It may see in aios://queue how all agents fare: calls, speed and spend",
    )
    share: float = Field(
        default=1.0,
        ge=0.001,
        le=1000,
        description="Its part of busy slots against the others', under the policy fair",
    )


class ServerPart(Part):
    """`[servers.NAME]`: a downstream MCP server, by command or by URL."""

    command: tuple[str, ...] = Field(
        default=(), description="Program and arguments of a stdio server"
    )
    url: str | None = Field(default=None, pattern=ADDRESS, description="Address of an HTTP server")
    transport: Literal["http", "sse"] = Field(
        default="http", description="For url: Streamable HTTP or legacy SSE"
    )
    env: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Environment; env:VARIABLE and file:PATH are resolved",
    )
    headers: dict[str, str] = Field(
        default_factory=dict[str, str], description="HTTP headers; env: and file: are resolved"
    )
    cwd: str | None = None
    concurrency: int = Field(default=16, ge=1, le=1024, description="Calls at work at once")
    connect_seconds: float = Field(default=20.0, gt=0, le=600)
    max_result_bytes: int = Field(default=1024 * 1024, ge=1024, le=256 * 1024 * 1024)
    calls_back: bool = Field(
        default=False,
        description="It is a client of this kernel itself: what it asks while it runs a tool, with"
        " the aios-mcp/errand of the call's _meta in its own, is as urgent as that call",
    )
    expose: tuple[str, ...] = Field(
        default=("*",), description="Patterns of its tools that passthrough publishes"
    )

    @model_validator(mode="after")
    def _command_or_url(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise ValueError("needs either command (stdio) or url (HTTP)")
        return self


def _local_agent() -> dict[str, AgentPart]:
    return {
        "local": AgentPart(
            tools=("*",),
            memory=AgentMemoryPart(read=("self/*", "shared"), write=("self/*", "shared")),
            llm=AgentLlmPart(tiers=("fast", "balanced", "capable")),
        )
    }


def _bundled_core() -> dict[str, LlamaCorePart | OpenAICorePart]:
    return {"bundled": LlamaCorePart(backend="llama_cpp")}


class Config(Part):
    """The whole file. With no file at all: the bundled model, the local store, one agent."""

    kernel: KernelPart = Field(default_factory=KernelPart)
    limits: LimitsPart = Field(default_factory=LimitsPart)
    http: HttpPart = Field(default_factory=HttpPart)
    memory: MemoryPart = Field(default_factory=MemoryPart)
    scheduler: SchedulerPart = Field(default_factory=SchedulerPart)
    agents: dict[Name, AgentPart] = Field(default_factory=_local_agent)
    router: RouterPart = Field(default_factory=RouterPart)
    cores: dict[Name, CorePart] = Field(default_factory=_bundled_core)
    embedders: dict[Name, EmbedderPart] = Field(default_factory=dict[str, EmbedderPart])
    servers: dict[Name, ServerPart] = Field(default_factory=dict[str, ServerPart])

    @model_validator(mode="after")
    def _default_agent_exists(self) -> Self:
        if problem := default_agent_problem(self.kernel.default_agent, self.agents):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _extracted_agents_exist(self) -> Self:
        if unknown := sorted({*self.memory.extract.agents} - self.agents.keys()):
            raise ValueError(
                f"memory.extract.agents names {unknown[0]!r}, but there is no"
                f" [agents.{unknown[0]}]; add it, or name others"
            )
        return self

    @model_validator(mode="after")
    def _superiors_exist(self) -> Self:
        for name, part in self.agents.items():
            if part.superior is None:
                continue
            superior = self.agents.get(part.superior)
            if superior is None or superior.superior is not None:
                raise ValueError(
                    f"agents.{name}.superior is {part.superior!r}; name another of [agents] that"
                    " has no superior itself"
                )
        return self


def default_agent_problem(name: str, agents: Collection[str]) -> str:
    """Say what is wrong with the choice of `kernel.default_agent`, or ""."""
    if name in agents:
        return ""
    return (
        f"kernel.default_agent is {name!r}, but there is no [agents.{name}]; add it, or name one"
        f" of: {', '.join(sorted(agents))}"
    )
