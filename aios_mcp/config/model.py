"""What the configuration file may say, as frozen models. Reading the file is `load`'s work."""

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
SECRET_REF = r"^(env|file):.+$"
NAMESPACE = r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*(/\*)?$"
RATE = r"^[1-9][0-9]{0,5}/min$"
ADDRESS = r"^https?://[^\s/]+"

SecretRef = Annotated[str, Field(pattern=SECRET_REF)]
"""Where a secret is found: `env:VARIABLE` or `file:PATH`; never the secret itself."""

Namespace = Annotated[str, Field(pattern=NAMESPACE)]
"""A memory namespace, or all below one: self, self/*, shared, team/alpha."""

Rate = Annotated[str, Field(pattern=RATE)]


class Part(BaseModel):
    """A table of the file: frozen, and closed against unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


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


class MemoryPart(Part):
    """`[memory]`."""

    embedder: str = Field(
        default="auto", description="auto, minilm, static, or the path of an embedding GGUF"
    )


class SchedulerPart(Part):
    """`[scheduler]`."""

    policy: Literal["fair", "fifo", "priority", "deadline"] = Field(
        default="fair",
        description="Who runs next: fair shares work over agents, fifo goes by arrival, priority"
        " by the call's priority, deadline by the call's deadline",
    )
    ageing_seconds: float = Field(
        default=30.0,
        gt=0,
        le=86_400,
        description="For priority: a call that waited this long counts as one step more urgent",
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


class AgentMemoryPart(Part):
    """`memory` of an agent: namespaces such as self/*, shared, team/alpha."""

    read: tuple[Namespace, ...] = Field(default=(), description="Namespaces it may search")
    write: tuple[Namespace, ...] = Field(
        default=(), description="Namespaces it may add to and forget from"
    )
    max_rows: int = Field(
        default=100_000, ge=1, le=10_000_000, description="Most memories of its own"
    )
    max_mb: float = Field(
        default=500.0, gt=0, le=1_000_000, description="Most megabytes of its own"
    )


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
    share: float = Field(
        default=1.0,
        ge=0.001,
        le=1000,
        description="Its part of busy slots against the others', under the policy fair",
    )


class PricePart(Part):
    """`price` of a core, in USD per million tokens."""

    input: float = Field(ge=0, le=1e6)
    output: float = Field(ge=0, le=1e6)
    cached_input: float | None = Field(
        default=None, ge=0, le=1e6, description="Defaults to the price of input"
    )


class LlamaCorePart(Part):
    """`[cores.NAME]` with `backend = "llama_cpp"`."""

    backend: Literal["llama_cpp"]
    model: str = Field(
        default="bundled",
        description="Path of a GGUF file, hf:ORG/REPO[:FILE or QUANT], or bundled",
    )
    tiers: tuple[Name, ...] = Field(default=("fast", "balanced", "capable"))
    slots: int = Field(default=8, ge=1, le=64, description="Sequences decoded together")
    context_tokens: int = Field(
        default=0,
        ge=0,
        le=10**8,
        description="Tokens of one sequence; 0 takes the model's, at most 8192",
    )
    threads: int = Field(
        default=0, ge=0, le=1024, description="0 is one less than the physical cores"
    )
    gpu_layers: int = Field(default=0, ge=-1, le=10_000, description="Layers on the GPU; -1 is all")
    main_gpu: int = Field(default=0, ge=0, le=1024)
    split_mode: Literal["none", "layer", "row"] = "layer"
    flash_attention: Literal["auto", "on", "off"] = "auto"
    kv_type: Literal["f16", "q8_0"] = "f16"
    temperature: float = Field(
        default=0.0, ge=0, le=2, description="Where a call names none; 0 is deterministic"
    )
    start_seconds: float = Field(
        default=120.0, gt=0, le=3600, description="Longest time a model may take to load"
    )

    @model_validator(mode="after")
    def _quantised_cache_needs_flash_attention(self) -> Self:
        if self.kv_type == "q8_0" and self.flash_attention == "off":
            raise ValueError('kv_type = "q8_0" needs flash attention; set flash_attention = "auto"')
        return self


class OpenAICorePart(Part):
    """`[cores.NAME]` with `backend = "openai"`: any OpenAI-compatible endpoint."""

    backend: Literal["openai"]
    base_url: str = Field(pattern=ADDRESS, description="Such as http://127.0.0.1:11434/v1")
    model: str = Field(min_length=1)
    api_key: SecretRef | None = Field(default=None, description="env:VARIABLE or file:PATH")
    tiers: tuple[Name, ...] = Field(default=("capable",))
    slots: int = Field(default=32, ge=1, le=4096, description="Requests in flight at once")
    context_tokens: int = Field(default=0, ge=0, le=10**8, description="0 is unknown")
    price: PricePart | None = Field(
        default=None, description="USD per million tokens; without it the cost is unknown"
    )
    idle_seconds: float = Field(
        default=60.0, gt=0, le=3600, description="Longest silence of a stream"
    )
    connect_seconds: float = Field(default=10.0, gt=0, le=600)
    schema_output: bool = Field(
        default=True, description="The endpoint takes response_format json_schema"
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


CorePart = Annotated[LlamaCorePart | OpenAICorePart, Field(discriminator="backend")]


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
    cores: dict[Name, CorePart] = Field(default_factory=_bundled_core)
    servers: dict[Name, ServerPart] = Field(default_factory=dict[str, ServerPart])

    @model_validator(mode="after")
    def _default_agent_exists(self) -> Self:
        if problem := default_agent_problem(self.kernel.default_agent, self.agents):
            raise ValueError(problem)
        return self


def default_agent_problem(name: str, agents: Collection[str]) -> str:
    """Say what is wrong with the choice of `kernel.default_agent`, or ""."""
    if name in agents:
        return ""
    return (
        f"kernel.default_agent is {name!r}, but there is no [agents.{name}]; add it, or name one"
        f" of: {', '.join(sorted(agents))}"
    )
