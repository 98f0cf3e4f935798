"""What the six tools take and what they answer: the contract with every client.

The published schemas are made from these models and pinned by `tests/server/tools.json`.
"""

import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from aios_mcp.kernel.calls import DEFAULT_NAMESPACE, DEFAULT_TIER
from aios_mcp.server.arguments import Arguments

_NAME = r"[A-Za-z0-9_.-]+"
_A_DAY_MS = 86_400_000


def _unix_seconds(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a string such as 2026-12-01 or 2026-12-01T08:30:00Z")
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be ISO 8601, such as 2026-12-01 or 2026-12-01T08:30:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


Moment = Annotated[float, BeforeValidator(_unix_seconds), WithJsonSchema({"type": "string"})]
"""Unix seconds, written as ISO 8601; UTC where no zone is given."""

Key = Annotated[str, Field(min_length=1, max_length=200)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Labels = Annotated[list[Label], Field(max_length=64)]
DeadlineMs = Annotated[int, Field(ge=1, le=_A_DAY_MS)]
Namespace = Annotated[str, Field(pattern=rf"^{_NAME}(/{_NAME})*$", max_length=200)]
NamespacePattern = Annotated[str, Field(pattern=rf"^{_NAME}(/{_NAME})*(/\*)?$", max_length=200)]

_DEADLINE = "Longest time for waiting and work together, in milliseconds"
_ONCE = "The same key with the same arguments does the work once and answers the same again"


class ChatMessage(Arguments):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Injection(Arguments):
    """Memories to put in front of the prompt."""

    query: str | None = Field(
        None, description="What to search for; by default the last user message"
    )
    k: int = Field(5, ge=1, le=50, description="Most memories")
    max_tokens: int = Field(512, ge=1, le=100_000, description="Room for them")


class GenerateArguments(Arguments):
    """Arguments of `llm_generate`."""

    prompt: str | None = Field(
        None, min_length=1, description="A single question or task; or give messages"
    )
    messages: list[ChatMessage] | None = Field(
        None, min_length=1, max_length=1000, description="A conversation, oldest first"
    )
    system: str | None = Field(None, description="Instructions in front of prompt or messages")
    model: str = Field(
        DEFAULT_TIER,
        min_length=1,
        max_length=64,
        description="A tier (fast, balanced, capable) or the name of a core, see aios://cores",
    )
    max_tokens: int = Field(256, ge=1, le=1_000_000, description="Most tokens of the answer")
    temperature: float | None = Field(None, ge=0, le=2, description="0 always picks the likeliest")
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, le=2**32 - 1)
    stop: list[Annotated[str, Field(min_length=1)]] = Field(
        [], max_length=16, description="Texts that end the answer; not part of it"
    )
    schema_: dict[str, object] | None = Field(
        None, alias="schema", description="JSON Schema that the answer must satisfy, see data"
    )
    memory: Injection | None = Field(
        None, description="Put memories that fit in front of the prompt; {} takes the defaults"
    )
    priority: Literal["urgent", "normal", "batch"] = Field(
        "normal", description="Counts where the kernel orders calls by priority"
    )
    deadline_ms: DeadlineMs | None = Field(None, description=_DEADLINE)
    idempotency_key: Key | None = Field(None, description=_ONCE)

    @model_validator(mode="after")
    def _prompt_or_messages(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give exactly one of 'prompt' and 'messages'")
        return self


class ExecuteArguments(Arguments):
    """Arguments of `execute_tool`."""

    tool: str = Field(
        min_length=1, max_length=256, description="Full name, server.tool, as find_tools lists it"
    )
    arguments: dict[str, object] = Field(
        {}, description="The tool's own arguments, as its input_schema says"
    )
    deadline_ms: DeadlineMs | None = Field(None, description=_DEADLINE)
    idempotency_key: Key | None = Field(None, description=_ONCE)


class FindArguments(Arguments):
    """Arguments of `find_tools`."""

    query: str | None = Field(
        None, max_length=1000, description="Words of what is to be done; without it, all tools"
    )
    server: str | None = Field(None, max_length=64, description="Only tools of this server")
    limit: int = Field(20, ge=1, le=200, description="Most tools")


class Link(Arguments):
    """A link to another memory."""

    relation: Label
    id: Label


class AddArguments(Arguments):
    """Arguments of `add_memory`."""

    content: str = Field(min_length=1, description="The text to remember")
    kind: Label = Field("fact", description="Such as fact, decision, preference, task")
    tags: Labels = Field([], description="Labels to filter by")
    data: dict[str, object] | None = Field(None, description="JSON to keep beside the text")
    namespace: Namespace = Field(
        DEFAULT_NAMESPACE,
        description="self and self/… are private; shared and others are common ground",
    )
    replaces: Label | None = Field(None, description="Id of a memory that this one supersedes")
    links: list[Link] = Field([], max_length=64, description="Memories this one refers to")
    expires: Moment | None = Field(None, description="When to forget it, ISO 8601")
    idempotency_key: Key | None = Field(None, description=_ONCE)


class SearchArguments(Arguments):
    """Arguments of `search_memory`."""

    query: str | None = Field(None, min_length=1, description="What to look for, in plain words")
    id: Label | None = Field(None, description="Fetch this memory instead of searching")
    k: int = Field(10, ge=1, le=100, description="Most hits")
    mode: Literal["hybrid", "vector", "keyword"] = Field(
        "hybrid", description="vector is by meaning, keyword by words, hybrid by both"
    )
    kinds: Labels = Field([], description="Only these kinds")
    tags: Labels = Field([], description="Only memories with all of these")
    since: Moment | None = Field(None, description="Created at or after, ISO 8601")
    until: Moment | None = Field(None, description="Created before, ISO 8601")
    namespace: NamespacePattern | None = Field(
        None, description="Only this one, or self/* for all below; without it, all you may read"
    )
    max_tokens: int | None = Field(
        None, ge=1, le=1_000_000, description="Stop where the hits would pass this many tokens"
    )

    @model_validator(mode="after")
    def _query_or_id(self) -> Self:
        if (self.query is None) == (self.id is None):
            raise ValueError("give exactly one of 'query' and 'id'")
        return self


class ForgetArguments(Arguments):
    """Arguments of `forget_memory`."""

    ids: Annotated[list[Label], Field(max_length=1000)] = Field(
        [], description="Ids of the memories; or give a filter"
    )
    kinds: Labels = Field([], description="Filter: any of these kinds")
    tags: Labels = Field([], description="Filter: all of these tags")
    until: Moment | None = Field(None, description="Filter: created before, ISO 8601")
    namespace: NamespacePattern | None = Field(
        None, description="Only in this namespace; without it, all you may write"
    )
    reason: str = Field("", max_length=1000, description="Why, for the record")

    @model_validator(mode="after")
    def _ids_or_filter(self) -> Self:
        has_filter = bool(self.kinds or self.tags or self.until is not None)
        if bool(self.ids) == has_filter:
            raise ValueError("give either 'ids' or a filter: 'kinds', 'tags', 'until'")
        return self


# --- Answers -----------------------------------------------------------------------------------

_STRING: dict[str, Any] = {"type": "string"}
_STRINGS: dict[str, Any] = {"type": "array", "items": _STRING}
_INTEGER: dict[str, Any] = {"type": "integer"}
_NUMBER: dict[str, Any] = {"type": "number"}
_OBJECT: dict[str, Any] = {"type": "object"}
# Said in full: some hosts refuse a schema that leaves a value's type open.
_ANYTHING: dict[str, Any] = {
    "anyOf": [{"type": name} for name in ("object", "array", "string", "number", "boolean", "null")]
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "code": _STRING,
        "message": _STRING,
        "retryable": {"type": "boolean"},
        "retry_after_s": _NUMBER,
        "request_id": {**_STRING, "description": "See aios://audit/{id}"},
    },
    "required": ["code", "message", "retryable"],
}


def _object(required: dict[str, Any], **optional: dict[str, Any]) -> dict[str, Any]:
    return {**_OBJECT, "properties": {**required, **optional}, "required": [*required]}


def _answer(required: dict[str, Any], **optional: dict[str, Any]) -> dict[str, Any]:
    # Some clients check the structured part of an error against this schema too.
    schema = _object(required, **optional, error=_ERROR)
    either = [{"required": schema.pop("required")}, {"required": ["error"]}]
    return {**schema, "anyOf": either}


GENERATED = _answer(
    {
        "text": _STRING,
        "finish_reason": {"enum": ["stop", "length", "tool_calls", "content_filter"]},
        "core": _STRING,
        "usage": _object(
            {
                "input_tokens": _INTEGER,
                "cached_tokens": _INTEGER,
                "output_tokens": _INTEGER,
                "cost_usd": {
                    "anyOf": [_NUMBER, {"type": "null"}],
                    "description": "null where the core's price is unknown",
                },
            }
        ),
        "queue_ms": _NUMBER,
        "run_ms": _NUMBER,
        "request_id": _STRING,
    },
    data={**_ANYTHING, "description": "The parsed answer, when a schema was given"},
    note={**_STRING, "description": "What to know of the core that answered"},
    memories={**_STRINGS, "description": "Ids of the memories put in front of the prompt"},
)
FOUND = _answer(
    {
        "tools": {
            "type": "array",
            "items": _object(
                {"name": _STRING, "description": _STRING, "input_schema": _OBJECT},
                title=_STRING,
                output_schema=_OBJECT,
                annotations=_OBJECT,
            ),
        },
        "unreachable": {**_STRINGS, "description": "Servers that could not be asked"},
    }
)
ADDED = _answer({"id": _STRING, "deduplicated": {"type": "boolean"}}, replaced=_STRING)
HITS = _answer(
    {
        "hits": {
            "type": "array",
            "items": _object(
                {
                    "id": _STRING,
                    "content": _STRING,
                    "score": _NUMBER,
                    "kind": _STRING,
                    "tags": _STRINGS,
                    "namespace": _STRING,
                    "created": _STRING,
                    "source": _OBJECT,
                },
                data=_OBJECT,
            ),
        }
    }
)
FORGOTTEN = _answer({"forgotten": _INTEGER})
