"""Values that cross the seams of `backends.protocols`. Plain and frozen; no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

JsonObject: TypeAlias = Mapping[str, object]
"""A JSON object as parsed; never changed after it was made."""

Role = Literal["system", "user", "assistant", "tool"]
ToolChoice = Literal["auto", "none", "required"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
CoreState = Literal["idle", "starting", "ready", "failed"]
ServerState = Literal["idle", "starting", "ready", "waiting", "failed"]
SearchMode = Literal["hybrid", "vector", "keyword"]
Unit = Literal["tokens", "micro_usd"]


# --- LLM cores ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedCall:
    """A tool call that a model asks for; `arguments` is the JSON object it wrote."""

    id: str
    name: str
    arguments: JsonObject


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: Who speaks.
        text: What is said; "" where an assistant only calls tools.
        calls: Tools that this turn of the assistant calls.
        call_id: For the role `tool`: the call that this text answers.
    """

    role: Role
    text: str
    calls: tuple[RequestedCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """A prompt and its limits.

    Attributes:
        messages: Conversation so far, oldest first; never empty.
        max_tokens: Upper bound on generated tokens, at least 1.
        temperature: 0.0 is greedy; None leaves it to the core.
        top_p: Nucleus sampling mass in (0, 1]; None leaves it to the core.
        min_p: Least probability, as a share of the likeliest token's, in [0, 1]; None is 0.
        repeat_penalty: Divides the logits of tokens already in the answer; None is 1, no penalty.
        presence_penalty: Taken off logits of tokens already in the answer; None is 0.
        frequency_penalty: The same, for each time they are in it; None is 0.
        seed: Seed of the sampler; None leaves it to the core.
        stop: Strings that end the answer; they are not part of it.
        schema: JSON Schema the answer must satisfy, or None for free text.
        tools: Tools that the model may ask for.
        tool_choice: Whether it may, must not, or must ask for one.
        logprobs: Log probabilities of the chosen tokens, each with so many likeliest ones beside
            it; None is none at all.
    """

    messages: tuple[Message, ...]
    max_tokens: int = 256
    temperature: float | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: JsonObject | None = None
    tools: tuple["ToolSpec", ...] = ()
    tool_choice: ToolChoice = "auto"
    logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one generation.

    Attributes:
        input_tokens: All tokens of the prompt, cached ones included.
        cached_tokens: Those of the prompt that were not computed again.
        output_tokens: Generated tokens.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    @property
    def total(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Piece:
    """Newly generated text and the tokens it took (0 where the core does not say)."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A chosen token, its natural log probability, and those of the likeliest ones beside it."""

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished generation. `text` is exactly the emitted pieces joined.

    Attributes:
        calls: Tools that the model asks for; then `reason` is `tool_calls`.
        logprobs: One for each output token, where they were asked for.
    """

    text: str
    reason: FinishReason
    usage: Usage
    calls: tuple[RequestedCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreStatus:
    """What a core says of itself.

    Attributes:
        model: Name of the model, as people know it.
        state: `idle` is a core that starts at its first request.
        context_tokens: Largest prompt and answer together; 0 while unknown.
        note: One line for people: why it failed, or that it is the bundled demonstration model.
        takes_schema: It can be held to a JSON Schema.
        takes_tools: It can ask for tools.
        resting_seconds: How long it is not to be asked, after failures or at its own wish.
        memory_bytes: Main memory that is set aside for it on this machine now.
    """

    model: str
    state: CoreState
    context_tokens: int = 0
    note: str = ""
    takes_schema: bool = True
    takes_tools: bool = False
    resting_seconds: float = 0.0
    memory_bytes: int = 0


# --- Tool servers ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """One tool as its server publishes it; JSON parts are kept as they came."""

    name: str
    description: str
    input_schema: JsonObject
    title: str | None = None
    output_schema: JsonObject | None = None
    annotations: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool answered, unchanged: content blocks in wire form.

    Attributes:
        content: Content blocks, each a JSON object as it came over the wire.
        structured: `structuredContent`, or None.
        is_error: The tool failed and says so for the model to read.
    """

    content: tuple[JsonObject, ...]
    structured: object | None = None
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """A progress notification of a running tool."""

    progress: float
    total: float | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """What is known of a tool server. `waiting` means down, with a restart due."""

    state: ServerState
    tools: int = 0
    restarts: int = 0
    last_failure: str = ""


# --- Memory ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a memory is kept.

    Attributes:
        owner: The agent whose private partition it is, or "" for the partition that agents share.
        namespace: Name inside that partition: `self`, `self/work`, `shared`, `team/alpha`.
    """

    owner: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Which memories a call may touch: one partition, and name patterns inside it.

    Attributes:
        owner: As in `Place`.
        patterns: Exact namespaces, or prefixes ending in `/*`, which match the prefix itself too
            (`self/*` matches `self` and `self/work`).
    """

    owner: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryDraft:
    """A memory to be added.

    Attributes:
        content: Text, not empty.
        kind: Free text such as `fact` or `decision`.
        tags: Labels to filter by.
        data: JSON the caller wants back.
        replaces: Id of the memory this one supersedes.
        links: `(relation, id)` pairs to memories of the same partition.
        expires: Unix seconds after which it is gone; None never.
        source: Where it came from: agent, tool, request.
        idempotency_key: The same key with the same body adds once.
        session: Conversation it was said in, or ""; searches know its neighbours there.
        importance: In [0, 1]; counts where a query gives it weight.
        created: Unix seconds it is from; None is now.
        reason: Why it replaces the other; kept in that one's history.
        fold: Where a memory of the same kind and namespace says nearly the same, that one stands.
    """

    content: str
    kind: str = "fact"
    tags: tuple[str, ...] = ()
    data: JsonObject | None = None
    replaces: str | None = None
    links: tuple[tuple[str, str], ...] = ()
    expires: float | None = None
    source: JsonObject = field(default_factory=dict[str, object])
    idempotency_key: str | None = None
    session: str = ""
    importance: float = 0.5
    created: float | None = None
    reason: str = ""
    fold: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a draft.

    Attributes:
        id: Id of the stored memory.
        deduplicated: The same content stood there already, or nearly the same where the draft asks
            to fold, or the key was seen before.
        replaced: Id of the memory it superseded.
    """

    id: str
    deduplicated: bool = False
    replaced: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryQuery:
    """What to look for: `text`, `id`, or a `session` alone.

    Attributes:
        text: Words to search for.
        id: Id to fetch.
        k: Most hits to return.
        kinds: Only these kinds; empty means all.
        tags: Only memories that carry all of these.
        since: Only those created at or after, in Unix seconds.
        until: Only those created before, in Unix seconds.
        max_tokens: Room for the hits' texts, best first; one that does not fit is left out.
        session: Only memories of this conversation; without text or id its last ones, newest first.
        history: With an id: its older versions too, newest first. It may be an older one's id.
        links: Links to follow from each hit, so many steps; what they lead to comes after the hits.
        distinct: Leave out hits that say nearly the same as a better one.
        recency: Weight in [0, 1] of how new a memory is: half after 30 days.
        importance: Weight in [0, 1] of its importance.
        explain: Say of each hit what its score is made of.
    """

    text: str | None = None
    id: str | None = None
    k: int = 10
    mode: SearchMode = "hybrid"
    kinds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    max_tokens: int | None = None
    session: str | None = None
    history: bool = False
    links: int = 0
    distinct: bool = False
    recency: float = 0.0
    importance: float = 0.0
    explain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One memory found; `score` is in [0, 1], higher is better, comparable within one answer.

    Attributes:
        links: `(relation, id)` pairs it was given and that lead to memories within reach.
        via: Id of the hit whose link led here, or "".
        replaced: Of an older version: why it was replaced, maybe ""; None of a living memory.
        why: Parts of the score by name, where the query asks to explain.
    """

    id: str
    content: str
    score: float
    kind: str
    tags: tuple[str, ...]
    namespace: str
    created: float
    data: JsonObject | None
    source: JsonObject
    session: str = ""
    importance: float = 0.5
    links: tuple[tuple[str, str], ...] = ()
    via: str = ""
    replaced: str | None = None
    why: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecord:
    """A stored memory as a listing gives it.

    Attributes:
        id: Its id.
        namespace: Where it stands.
        draft: What would store it again: `created` is set, `replaces` names the older version that
            still stands, there is no key.
        is_current: It was not replaced.
        position: What was added later stands higher; a listing goes on after it.
    """

    id: str
    namespace: str
    draft: MemoryDraft
    is_current: bool
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Memories to forget: by ids, or by a filter of which at least one part is set."""

    ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCounts:
    """What one partition holds."""

    rows: int
    size_bytes: int


# --- Journal: audit trail and ledger -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Units set aside before work starts.

    Attributes:
        account: Whose budget, such as an agent's name.
        period: Budget period, such as `2026-11-24`; a new period starts at zero.
        unit: What is counted.
        amount: Units to set aside.
        cap: Most units spent and held together in the period; None is unlimited, but counted.
    """

    account: str
    period: str
    unit: Unit
    amount: int
    cap: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOpened:
    """A syscall the gate is about to let in, or to refuse.

    Attributes:
        request_id: Unique; also the id of its audit record.
        agent: Who asks.
        op: The syscall, such as `llm_generate`.
        target: What it aims at: a tier, a tool, a namespace.
        digest: Keyed digest of the arguments; never their contents.
        at: Unix seconds.
    """

    request_id: str
    agent: str
    op: str
    target: str
    digest: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallClosed:
    """How a syscall ended.

    Attributes:
        request_id: The one it was opened with.
        at: Unix seconds.
        outcome: `ok`, or an error code.
        used: Units really used, by unit; they replace the holds.
        queue_ms: Time in line.
        run_ms: Time at work.
        place: The core or server that did the work, or "".
        answer: JSON to replay for the same idempotency key, or None.
    """

    request_id: str
    at: float
    outcome: str
    used: Mapping[Unit, int] = field(default_factory=dict[Unit, int])
    queue_ms: float = 0.0
    run_ms: float = 0.0
    place: str = ""
    answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One syscall as the audit trail keeps it; `outcome` is "" while it runs."""

    seq: int
    request_id: str
    agent: str
    op: str
    target: str
    digest: str
    outcome: str
    opened: float
    closed: float | None
    tokens: int
    micro_usd: int
    queue_ms: float
    run_ms: float
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What an account spent and holds in one period."""

    spent: int
    held: int
