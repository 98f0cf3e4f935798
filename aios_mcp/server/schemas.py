"""What the six tools take: the contract with every client.

The published schemas are made from these models and pinned by `tests/server/tools.json`.
"""

import datetime
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from aios_mcp.kernel.calls import DEFAULT_NAMESPACE, DEFAULT_TIER
from aios_mcp.server.arguments import Arguments
from backends.messages import FIRST_MOMENT, LAST_MOMENT

_NAME = r"[A-Za-z0-9_.-]+"
_A_DAY_MS = 86_400_000


def _unix_seconds(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a string such as 2026-12-01 or 2026-12-01T08:30:00Z")
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be ISO 8601, such as 2026-12-01 or 2026-12-01T08:30:00Z") from None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    if not FIRST_MOMENT <= seconds <= LAST_MOMENT:
        raise ValueError("must lie in the years 1 to 9999 in UTC")
    return seconds


Moment = Annotated[float, BeforeValidator(_unix_seconds), WithJsonSchema({"type": "string"})]
"""Unix seconds, written as ISO 8601; UTC where no zone is given."""

Key = Annotated[str, Field(min_length=1, max_length=200)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Labels = Annotated[list[Label], Field(max_length=64)]
DeadlineMs = Annotated[int, Field(ge=1, le=_A_DAY_MS)]
Namespace = Annotated[str, Field(pattern=rf"^{_NAME}(/{_NAME})*$", max_length=200)]
NamespacePattern = Annotated[str, Field(pattern=rf"^{_NAME}(/{_NAME})*(/\*)?$", max_length=200)]

Priority = Literal["urgent", "normal", "batch"]

ToolName = Annotated[str, Field(min_length=1, max_length=256)]

_PRIORITY = "Counts where the kernel orders calls by priority"
_DEADLINE = "Longest time for waiting and work together, in milliseconds"
_ONCE = "The same key with the same arguments does the work once and answers the same again"


class AskedCall(Arguments):
    """A tool call that an earlier answer asked for."""

    id: Key
    name: ToolName
    arguments: dict[str, object]


class ChatMessage(Arguments):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    calls: list[AskedCall] = Field(
        [], max_length=128, description="Of an assistant: the calls it asked for"
    )
    call_id: Key | None = Field(
        None, description="Of a tool: the id of the call whose result this is"
    )

    @model_validator(mode="after")
    def _calls_fit_the_role(self) -> Self:
        if self.calls and self.role != "assistant":
            raise ValueError("has 'calls', which only the role assistant has")
        if (self.call_id is not None) != (self.role == "tool"):
            raise ValueError("needs 'call_id' with the role tool, and with no other")
        return self


class OfferedTool(Arguments):
    """A tool that the model may ask for, as `find_tools` gives it."""

    name: ToolName
    description: str = ""
    input_schema: dict[str, object]
    title: str | None = None
    output_schema: dict[str, object] | None = None
    annotations: dict[str, object] | None = None


class Injection(Arguments):
    """Memories to put in front of the prompt."""

    query: str | None = Field(
        None, description="What to search for; by default the last user message"
    )
    k: int = Field(5, ge=0, le=50, description="Most memories")
    max_tokens: int = Field(512, ge=1, le=100_000, description="Room for all of it")
    turns: int = Field(
        0,
        ge=0,
        le=64,
        description="Working memory: put the last exchanges of 'session' in front too; they are"
        " kept from the first call on that asks for some",
    )


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
    min_p: float | None = Field(None, ge=0, le=1)
    repeat_penalty: float | None = Field(None, gt=0, le=2, description="1 is none")
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=0, le=2**32 - 1)
    stop: list[Annotated[str, Field(min_length=1)]] = Field(
        [], max_length=16, description="Texts that end the answer; not part of it"
    )
    schema_: dict[str, object] | None = Field(
        None, alias="schema", description="JSON Schema that the answer must satisfy, see data"
    )
    tools: list[OfferedTool] = Field(
        [],
        max_length=128,
        description="Tools the model may ask for, see calls; entries of find_tools fit",
    )
    tool_choice: Literal["auto", "none", "required"] = Field(
        "auto", description="Whether it may, must not or must ask for one"
    )
    logprobs: int | None = Field(
        None, ge=0, le=20, description="Log probabilities, with so many likeliest tokens each"
    )
    memory: Injection | None = Field(
        None, description="Put memories that fit in front of the prompt; {} takes the defaults"
    )
    priority: Priority = Field("normal", description=_PRIORITY)
    session: Label | None = Field(
        None,
        description="Conversation or agent loop this belongs to, for memory.turns, and where its"
        " beginning does not tell: of your own calls that wait, those of the session that has had"
        " least go first",
    )
    deadline_ms: DeadlineMs | None = Field(None, description=_DEADLINE)
    idempotency_key: Key | None = Field(None, description=_ONCE)

    @model_validator(mode="after")
    def _prompt_or_messages(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give exactly one of 'prompt' and 'messages'")
        return self

    @model_validator(mode="after")
    def _tools_make_sense(self) -> Self:
        names = [tool.name for tool in self.tools]
        if len(set(names)) < len(names):
            raise ValueError("'tools' has two of one name; give each its own")
        if self.tool_choice == "required" and not self.tools:
            raise ValueError("'tool_choice' is required, but there are no 'tools'")
        return self

    @model_validator(mode="after")
    def _turns_have_a_session(self) -> Self:
        if self.memory is not None and self.memory.turns and self.session is None:
            raise ValueError("'memory.turns' needs 'session', the conversation they belong to")
        return self


class ExecuteArguments(Arguments):
    """Arguments of `execute_tool`."""

    tool: str = Field(
        min_length=1, max_length=256, description="Full name, server.tool, as find_tools lists it"
    )
    arguments: dict[str, object] = Field(
        {}, description="The tool's own arguments, as its input_schema says"
    )
    priority: Priority = Field("normal", description=_PRIORITY)
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
    session: Label | None = Field(
        None, description="The conversation it was said in; searches know its neighbours there"
    )
    importance: float = Field(0.5, ge=0, le=1, description="Counts where a search gives it weight")
    created: Moment | None = Field(None, description="When it was said, if not now, ISO 8601")
    reason: str = Field("", max_length=1000, description="With replaces: why, for its history")
    fold: bool = Field(
        False, description="Store nothing where a memory says nearly the same already"
    )
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

    session: Label | None = Field(
        None, description="Only this conversation; without query, its last memories, newest first"
    )
    history: bool = Field(False, description="With id: its older versions too, newest first")
    links: int = Field(0, ge=0, le=3, description="Links to follow from each hit, so many steps")
    distinct: bool = Field(
        False, description="Leave out hits that say nearly the same as a better one"
    )
    recency: float = Field(0, ge=0, le=1, description="Weight of how new a memory is")
    importance: float = Field(0, ge=0, le=1, description="Weight of its importance")
    explain: bool = Field(False, description="Say what each score is the sum of")

    @model_validator(mode="after")
    def _query_id_or_session(self) -> Self:
        if self.query is not None and self.id is not None:
            raise ValueError("give exactly one of 'query' and 'id'")
        if self.query is None and self.id is None and self.session is None:
            raise ValueError("give one of 'query', 'id' and 'session'")
        if self.history and self.id is None:
            raise ValueError("'history' needs 'id'")
        return self


class ForgetArguments(Arguments):
    """Arguments of `forget_memory`."""

    ids: Annotated[list[Label], Field(max_length=1000)] = Field(
        [], description="Ids of the memories; or give a filter"
    )
    kinds: Labels = Field([], description="Filter: any of these kinds")
    tags: Labels = Field([], description="Filter: all of these tags")
    until: Moment | None = Field(None, description="Filter: created before, ISO 8601")
    session: Label | None = Field(
        None,
        description="Filter: of this session. Without kinds and tags, what memory.turns recalls of"
        " it goes too; ids and other filters do not reach that",
    )
    namespace: NamespacePattern | None = Field(
        None,
        description="Only in this namespace; without it all you may write, with a session all of"
        " self",
    )
    reason: str = Field("", max_length=1000, description="Why, for the record")

    @model_validator(mode="after")
    def _ids_or_filter(self) -> Self:
        filters = (self.kinds, self.tags, self.until is not None, self.session)
        if bool(self.ids) == any(filters):
            raise ValueError("give either 'ids' or a filter: 'kinds', 'tags', 'until', 'session'")
        return self
