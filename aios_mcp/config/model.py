"""What the configuration file may say, as frozen models. Reading the file is `load`'s work."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
SecretRef = Annotated[str, Field(pattern=r"^(env|file):.+$")]
"""Where a secret is found: `env:VARIABLE` or `file:PATH`; never the secret itself."""

Namespace = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*(/\*)?$")]
"""A memory namespace, or all below one: self, self/*, shared, team/alpha."""

Rate = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}/min$")]


class Part(BaseModel):
    """A table of the file: frozen, and closed against unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class KernelPart(Part):
    """`[kernel]`."""

    data_dir: str = Field(
        "", description="Where memories and audit live; empty is the user's data directory"
    )
    cache_dir: str = Field(
        "", description="Where models are kept; empty is the user's cache directory"
    )
    default_agent: Name = Field("local", description="The agent that stdio speaks for")
    expose: Literal["gateway", "passthrough"] = Field(
        "gateway", description="passthrough also publishes downstream tools under their own names"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="What stderr shows"
    )


class LimitsPart(Part):
    """`[limits]`: every wait and every line has one."""

    queue_total: int = Field(256, ge=1, le=100_000, description="Calls that may wait in all")
    queue_per_agent: int = Field(
        16, ge=1, le=100_000, description="Calls of one agent that may wait"
    )
    queue_seconds: float = Field(30.0, gt=0, le=3600, description="Longest wait for a slot")
    generate_seconds: float = Field(300.0, gt=0, le=86_400, description="Longest generation")
    tool_seconds: float = Field(60.0, gt=0, le=86_400, description="Longest downstream call")
    memory_seconds: float = Field(30.0, gt=0, le=3600, description="Longest memory call")
    memory_slots: int = Field(16, ge=1, le=1024, description="Memory calls at work at once")
    shutdown_seconds: float = Field(
        1.5, gt=0, le=60, description="Grace for calls in flight at the end"
    )


class HttpPart(Part):
    """`[http]`."""

    allowed_hosts: tuple[str, ...] = Field(
        (), description="Host headers accepted besides loopback, as host or host:port"
    )
    allowed_origins: tuple[str, ...] = Field(
        (), description="Origins accepted besides loopback ones, as scheme://host[:port]"
    )
    allow_unauthenticated: bool = Field(
        False, description="Serve other hosts than loopback without credentials"
    )
    max_body_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Largest request body"
    )
    max_connections: int = Field(1024, ge=1, le=100_000, description="Connections open at once")
    body_seconds: float = Field(
        30.0, gt=0, le=600, description="Longest time a request body may take to arrive"
    )
    sse: bool = Field(True, description="Serve the legacy SSE transport on /sse and /messages/")


class MemoryPart(Part):
    """`[memory]`."""

    embedder: str = Field(
        "auto", description="auto, minilm, static, or the path of an embedding GGUF"
    )


class SchedulerPart(Part):
    """`[scheduler]`."""

    policy: Literal["fifo"] = Field("fifo", description="Who runs next")


class ArgumentPart(Part):
    """One entry of `args` of an agent: what an argument of matching tools must satisfy."""

    tool: str = Field(description="Pattern of tool names, such as fs.read_*")
    path: str = Field(description="Name of the argument, with dots for nested ones")
    under: str | None = Field(None, description="The argument is a path inside this directory")
    eq: str | int | float | bool | None = Field(None, description="The argument equals this")
    one_of: tuple[str | int | float | bool, ...] | None = Field(
        None, description="The argument is one of these"
    )
    glob: str | None = Field(None, description="The argument matches this pattern")
    max: float | None = Field(None, description="The argument is a number of at most this")

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        tests = [self.under, self.eq, self.one_of, self.glob, self.max]
        if sum(test is not None for test in tests) != 1:
            raise ValueError("needs exactly one of: under, eq, one_of, glob, max")
        return self


class AgentMemoryPart(Part):
    """`memory` of an agent: namespaces such as self/*, shared, team/alpha."""

    read: tuple[Namespace, ...] = Field((), description="Namespaces it may search")
    write: tuple[Namespace, ...] = Field((), description="Namespaces it may add to and forget from")
    max_rows: int = Field(100_000, ge=1, le=10_000_000, description="Most memories of its own")
    max_mb: float = Field(500.0, gt=0, le=1_000_000, description="Most megabytes of its own")


class AgentLlmPart(Part):
    """`llm` of an agent."""

    tiers: tuple[Name, ...] = Field((), description="Tiers it may use")
    cores: tuple[Name, ...] = Field((), description="Cores it may name besides those of its tiers")
    max_tokens: int = Field(8192, ge=1, le=1_000_000, description="Most tokens of one answer")
    tokens_per_day: int | None = Field(
        None, ge=1, description="Tokens a day (UTC), prompts included"
    )
    usd_per_day: float | None = Field(None, gt=0, description="Dollars a day (UTC)")
    concurrency: int | None = Field(None, ge=1, le=1024, description="Generations at once")


class AgentPart(Part):
    """`[agents.NAME]`: default deny; what is not granted here is refused."""

    token: SecretRef | None = Field(
        None, description="Its bearer token for HTTP, as env:VARIABLE or file:PATH"
    )
    tools: tuple[str, ...] = Field(
        (), description="Patterns of tools it may call, such as fs.read_*"
    )
    deny: tuple[str, ...] = Field((), description="Patterns it may not call whatever tools says")
    args: tuple[ArgumentPart, ...] = Field((), description="Conditions on arguments")
    memory: AgentMemoryPart = Field(default_factory=AgentMemoryPart)
    llm: AgentLlmPart = Field(default_factory=AgentLlmPart)
    rate: Rate | None = Field(None, description="Calls a minute, such as 60/min")


class PricePart(Part):
    """`price` of a core, in USD per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0, description="Defaults to the price of input")


class LlamaCorePart(Part):
    """`[cores.NAME]` with `backend = "llama_cpp"`."""

    backend: Literal["llama_cpp"]
    model: str = Field(
        "bundled", description="Path of a GGUF file, hf:ORG/REPO[:FILE or QUANT], or bundled"
    )
    tiers: tuple[Name, ...] = Field(("fast", "balanced", "capable"))
    slots: int = Field(8, ge=1, le=256, description="Sequences decoded together")
    context_tokens: int = Field(
        0, ge=0, description="Tokens of one sequence; 0 takes the model's, at most 8192"
    )
    threads: int = Field(0, ge=0, le=1024, description="0 is one less than the physical cores")
    gpu_layers: int = Field(0, ge=-1, description="Layers on the GPU; -1 is all")
    main_gpu: int = Field(0, ge=0)
    split_mode: Literal["none", "layer", "row"] = "layer"
    flash_attention: Literal["auto", "on", "off"] = "auto"
    kv_type: Literal["f16", "q8_0"] = "f16"
    temperature: float = Field(
        0.0, ge=0, le=2, description="Where a call names none; 0 is deterministic"
    )
    start_seconds: float = Field(
        120.0, gt=0, le=3600, description="Longest time a model may take to load"
    )


class OpenAICorePart(Part):
    """`[cores.NAME]` with `backend = "openai"`: any OpenAI-compatible endpoint."""

    backend: Literal["openai"]
    base_url: str = Field(
        pattern=r"^https?://[^\s/]+", description="Such as http://127.0.0.1:11434/v1"
    )
    model: str = Field(min_length=1)
    api_key: SecretRef | None = Field(None, description="env:VARIABLE or file:PATH")
    tiers: tuple[Name, ...] = Field(("capable",))
    slots: int = Field(32, ge=1, le=4096, description="Requests in flight at once")
    context_tokens: int = Field(0, ge=0, description="0 is unknown")
    price: PricePart | None = Field(
        None, description="USD per million tokens; without it the cost is unknown"
    )
    idle_seconds: float = Field(60.0, gt=0, le=3600, description="Longest silence of a stream")
    connect_seconds: float = Field(10.0, gt=0, le=600)
    schema_output: bool = Field(True, description="The endpoint takes response_format json_schema")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


CorePart = Annotated[LlamaCorePart | OpenAICorePart, Field(discriminator="backend")]


class ServerPart(Part):
    """`[servers.NAME]`: a downstream MCP server, by command or by URL."""

    command: tuple[str, ...] = Field((), description="Program and arguments of a stdio server")
    url: str | None = Field(
        None, pattern=r"^https?://[^\s/]+", description="Address of an HTTP server"
    )
    transport: Literal["http", "sse"] = Field(
        "http", description="For url: Streamable HTTP or legacy SSE"
    )
    env: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Environment; env:VARIABLE and file:PATH are resolved",
    )
    headers: dict[str, str] = Field(
        default_factory=dict[str, str], description="HTTP headers; env: and file: are resolved"
    )
    cwd: str | None = None
    concurrency: int = Field(16, ge=1, le=1024, description="Calls at work at once")
    connect_seconds: float = Field(20.0, gt=0, le=600)
    max_result_bytes: int = Field(1024 * 1024, ge=1024, le=256 * 1024 * 1024)
    expose: tuple[str, ...] = Field(
        ("*",), description="Patterns of its tools that passthrough publishes"
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
        if self.kernel.default_agent not in self.agents:
            raise ValueError(
                f"kernel.default_agent is {self.kernel.default_agent!r}, but there is no"
                f" [agents.{self.kernel.default_agent}]"
            )
        return self

    def directory_of(self, relative: str) -> Path:
        """Expand `~` in a configured path."""
        return Path(re.sub(r"^~(?=/|$)", str(Path.home()), relative))
