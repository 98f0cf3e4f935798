"""The syscalls' arguments and answers: what the surface hands to the kernel and gets back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from backends.messages import (
    CoreStatus,
    GenerateRequest,
    MemoryDraft,
    MemoryQuery,
    RequestedCall,
    Selection,
    ServerStatus,
    TokenLogprob,
    ToolResult,
    ToolSpec,
    Usage,
)
from scheduler import Lane

DEFAULT_NAMESPACE = "self"
DEFAULT_TIER = "balanced"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryInjection:
    """Memories to put in front of a prompt.

    Attributes:
        query: What to search for; None searches for the last user message.
        k: Most memories; 0 searches for none.
        max_tokens: Room for them, and for what was said before.
        turns: Last exchanges of the call's session to put in front too; they are kept from the
            first call on that asks for some.
    """

    query: str | None = None
    k: int = 5
    max_tokens: int = 512
    turns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateCall:
    """Arguments of `llm_generate`.

    Attributes:
        request: The prompt and its limits.
        model: Name of a core, or a tier.
        memory: Memories to inject, or None.
        lane: Service class.
        session: The conversation or agent loop it belongs to, or "".
        deadline_seconds: For waiting and work together; None takes the configured one.
        idempotency_key: The same key with the same arguments answers from the first call.
    """

    request: GenerateRequest
    model: str = DEFAULT_TIER
    memory: MemoryInjection | None = None
    lane: Lane = Lane.NORMAL
    session: str = ""
    deadline_seconds: float | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try on one core; `outcome` is `ok`, or the code of its error."""

    core: str
    outcome: str
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Answer of `llm_generate`.

    Attributes:
        data: The parsed answer when a schema was asked for and the answer is complete.
        core: Name of the core that answered.
        note: What to know of that core, such as that it is the bundled demonstration model.
        cost_micro_usd: None where the core's price is unknown; 0 for local cores.
        attempts: Cores that were tried, the one that answered last.
        memories: Ids of the memories that were injected.
        turns: Ids of the calls of the session whose exchanges were put in front, oldest first.
        calls: Tools that the model asks for; their results belong in the next call's messages.
        logprobs: One for each token of the text, where they were asked for.
    """

    text: str
    data: object | None
    finish_reason: str
    core: str
    note: str
    usage: Usage
    cost_micro_usd: int | None
    queue_ms: float
    run_ms: float
    request_id: str
    attempts: tuple[Attempt, ...] = ()
    memories: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    calls: tuple[RequestedCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """Arguments of `execute_tool`; `tool` is `server.name`."""

    tool: str
    arguments: dict[str, object] = field(default_factory=dict[str, object])
    lane: Lane = Lane.NORMAL
    deadline_seconds: float | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """Answer of `execute_tool`: the downstream result unchanged, and what the kernel adds."""

    result: ToolResult
    queue_ms: float
    run_ms: float
    audit_id: str


@dataclass(frozen=True, slots=True)
class FoundTool:
    """A tool the agent may call, under its full name `server.name`."""

    name: str
    server: str
    spec: ToolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTools:
    """Answer of `find_tools`.

    Attributes:
        tools: Permitted tools, best match first, else by name.
        unreachable: Servers the agent has grants for that could not be asked.
    """

    tools: tuple[FoundTool, ...]
    unreachable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCall:
    """Arguments of `add_memory`."""

    draft: MemoryDraft
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchCall:
    """Arguments of `search_memory`; no namespace means all the agent may read."""

    query: MemoryQuery
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetCall:
    """Arguments of `forget_memory`; no namespace means all the agent may write.

    With a session it means the agent's own: others name theirs as they like.
    """

    selection: Selection
    namespace: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """How much was forgotten: memories, and exchanges of a session."""

    memories: int
    exchanges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreReport:
    """One core as an agent may see it.

    Attributes:
        is_local: It runs on this machine.
        price: USD per million tokens, `(input, cached input, output)`; None is unknown.
        tokens_per_second: How fast it wrote its last answers; None is not known yet.
        first_token_ms: How long their beginning took; None is not known yet.
    """

    name: str
    backend: Literal["llama_cpp", "openai"]
    tiers: tuple[str, ...]
    status: CoreStatus
    slots: int
    busy: int
    waiting: int
    is_local: bool
    price: tuple[float, float, float] | None
    tokens_per_second: float | None
    first_token_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReport:
    """One tool server as an agent may see it."""

    name: str
    status: ServerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionReport:
    """How the extraction of memories from an agent's sessions goes, since the start.

    Attributes:
        waiting: Exchanges it has not been through.
        stored: Memories it stored.
        folded: Memories that stood there already.
        failed: Tries that failed; the log says how.
    """

    waiting: int
    stored: int
    folded: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """The kernel at a glance, for one agent: only what its grants touch.

    Attributes:
        unsettled: Calls of the agent whose end could not be written to disk; they count with the
            most they might have cost until it is, which is tried with every call.
        extraction: None where no memories are extracted from its sessions.
    """

    version: str
    agent: str
    uptime_seconds: float
    cores: Sequence[CoreReport]
    servers: Sequence[ServerReport]
    running: int
    waiting: int
    memories: int
    memory_bytes: int
    unsettled: int
    extraction: ExtractionReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """What an agent used of its budget today (UTC); None for a limit is none."""

    agent: str
    period: str
    tokens: int
    tokens_limit: int | None
    usd: float
    usd_limit: float | None
