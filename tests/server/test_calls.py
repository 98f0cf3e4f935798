"""Answers and failures of the tools, as a client sees them."""

import json
from collections.abc import Mapping
from typing import Any, cast

import anyio
import pytest
from mcp import Client
from mcp_types import CallToolResult, TextContent

from aios_mcp.errors import ConflictError, RateLimitedError
from aios_mcp.kernel import Allowance
from aios_mcp.kernel.calls import AddCall
from aios_mcp.kernel.cores import Core
from aios_mcp.kernel.working_memory import WorkingMemory
from backends.errors import (
    BackendTimeoutError,
    ContextOverflowError,
    OutputTooLargeError,
    StoreFullError,
    ToolServerUnavailableError,
)
from backends.messages import (
    Completion,
    CoreStatus,
    GenerateRequest,
    JsonObject,
    MemoryDraft,
    Piece,
    ServerStatus,
    ToolResult,
    ToolSpec,
    Usage,
)
from backends.protocols import Emit, OnProgress, Turn
from backends.scripted import EchoCore
from backends.scripted_sessions import ListSessions
from backends.turns import UNINTERRUPTED
from scheduler import QueueFullError
from tests.kernel.kernels import NOW, agent, build, core
from tests.marks import virtual_time
from tests.server.surfaces import known, memories, server

TEA = "tea at four\n- and cake"
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


class SaysCore:
    """Answers with a given text and note."""

    def __init__(self, text: str, *, note: str = "") -> None:
        self._text = text
        self._note = note

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        await emit(Piece(self._text, 3))
        usage = Usage(input_tokens=2, output_tokens=3)
        return Completion(
            text=self._text, reason="length" if request.max_tokens == 3 else "stop", usage=usage
        )

    def status(self) -> CoreStatus:
        return CoreStatus(model="says", state="ready", note=self._note)


class OneTool:
    """A server with one tool that answers, or fails, as it was told to."""

    def __init__(self, answer: ToolResult | Exception) -> None:
        self._answer = answer

    async def list_tools(self, /) -> tuple[ToolSpec, ...]:
        return (ToolSpec(name="it", description="It.", input_schema={}),)

    async def call(
        self, name: str, arguments: JsonObject, on_progress: OnProgress, errand: str = "", /
    ) -> ToolResult:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def status(self) -> ServerStatus:
        return ServerStatus(state="ready", tools=1)


async def call_core(
    used: Core, arguments: Mapping[str, Any], *, mode: str = "auto"
) -> CallToolResult:
    async with Client(server(build(used)), mode=mode) as client:
        return await client.call_tool("llm_generate", dict(arguments))


async def call_tool(answer: ToolResult | Exception, *, mode: str = "auto") -> CallToolResult:
    kernel = build(servers={"one": OneTool(answer)})
    async with Client(server(kernel), mode=mode) as client:
        return await client.call_tool("execute_tool", {"tool": "one.it"})


def texts(result: CallToolResult) -> list[str]:
    return [block.text for block in result.content if isinstance(block, TextContent)]


def structured(result: CallToolResult) -> dict[str, Any]:
    content: Any = result.structured_content
    assert isinstance(content, dict)
    return cast("dict[str, Any]", content)


@MODES
async def test_a_cores_note_stands_beside_the_answer_and_not_in_it(mode: str) -> None:
    says = core(llm=SaysCore("once", note="A demonstration model."))
    result = await call_core(says, {"prompt": "x", "max_tokens": 3}, mode=mode)
    assert texts(result) == [
        "once",
        "Note: A demonstration model. The answer was cut off at max_tokens = 3.",
    ]
    assert structured(result)["text"] == "once"
    assert structured(result)["note"] == "A demonstration model."
    assert structured(result)["finish_reason"] == "length"


async def test_an_answer_without_a_note_is_one_block() -> None:
    result = await call_core(core(llm=SaysCore("once")), {"prompt": "x"})
    assert texts(result) == ["once"]
    assert "note" not in structured(result)


async def test_a_cost_that_is_not_known_is_null() -> None:
    result = await call_core(core(llm=SaysCore("x"), price=None), {"prompt": "x"})
    assert structured(result)["usage"]["cost_usd"] is None


@pytest.mark.parametrize("text", ["false", "0", '{"stars": 5}'])
async def test_a_schemas_answer_is_parsed(text: str) -> None:
    arguments = {"prompt": "x", "schema": {"type": ["boolean", "integer", "object"]}}
    result = await call_core(core(llm=SaysCore(text)), arguments)
    assert structured(result)["data"] == json.loads(text)


async def test_a_conversation_reaches_the_core_in_order() -> None:
    heard: list[GenerateRequest] = []

    class Listening(SaysCore):
        async def generate(
            self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
        ) -> Completion:
            heard.append(request)
            return await super().generate(request, emit, turn)

    arguments = {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": "and now?"},
        ],
        "system": "be brief",
        "temperature": 0,
        "stop": ["END"],
    }
    await call_core(core(llm=Listening("ok")), arguments)
    [request] = heard
    assert [(each.role, each.text) for each in request.messages] == [
        ("system", "be brief"),
        ("user", "hi"),
        ("assistant", "hello"),
        ("user", "and now?"),
    ]
    assert (request.temperature, request.stop) == (0.0, ("END",))


@MODES
@pytest.mark.parametrize(
    ("failure", "code", "retryable"),
    [
        (BackendTimeoutError("too slow"), "backend_timeout", True),
        (ContextOverflowError(wanted=9, limit=5), "invalid_argument", False),
        (RateLimitedError("ada", per_minute=1, retry_after_seconds=2.5), "rate_limited", True),
        (QueueFullError("ada", limit=1, retry_after_seconds=0.25), "busy", True),
        (ConflictError("key"), "conflict", False),
        (StoreFullError("no room"), "quota_exceeded", False),
    ],
    ids=lambda each: str(each) if isinstance(each, str) else "",
)
async def test_an_anticipated_failure_is_a_tool_error(
    failure: Exception, code: str, retryable: bool, mode: str
) -> None:
    result = await call_core(core(llm=EchoCore(fails_with=failure)), {"prompt": "x"}, mode=mode)
    assert result.is_error
    error = structured(result)["error"]
    assert (error["code"], error["message"]) == (code, str(failure))
    assert error["retryable"] is retryable
    after: object = getattr(failure, "retry_after_seconds", None)
    assert error.get("retry_after_s") == after
    [text] = texts(result)
    assert text.startswith(f"{code}: {failure}")
    assert ("try again in" in text) is (after is not None)


async def test_downstream_failures_are_told_apart() -> None:
    down = await call_tool(ToolServerUnavailableError("down", retry_after_seconds=3.0))
    large = await call_tool(OutputTooLargeError(size_bytes=10, limit_bytes=5))
    assert structured(down)["error"]["code"] == "downstream_unavailable"
    assert structured(down)["error"]["retry_after_s"] == 3.0
    assert structured(large)["error"]["code"] == "output_too_large"


@MODES
async def test_the_text_of_a_bug_stays_in_the_log(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    bug = ZeroDivisionError("secret of /etc/passwd")
    result = await call_core(core(llm=EchoCore(fails_with=bug)), {"prompt": "x"}, mode=mode)
    assert result.is_error
    assert structured(result)["error"]["code"] == "internal"
    assert "secret" not in result.model_dump_json()
    [record] = [each for each in caplog.records if each.name == "aios_mcp.server.errors"]
    assert getattr(record, "bug_id", "?") in structured(result)["error"]["message"]
    assert record.exc_info is not None
    assert record.exc_info[1] is bug


@MODES
async def test_a_lone_surrogate_is_replaced_in_both_directions(mode: str) -> None:
    says = core(llm=SaysCore("bad \ud83d end", note="n\udc00"))
    result = await call_core(says, {"prompt": "x"}, mode=mode)
    assert texts(result) == ["bad \ufffd end", "Note: n\ufffd"]
    result.model_dump_json().encode()
    kept = memories()
    async with Client(server(build(memories=kept)), mode=mode) as client:
        await client.call_tool("add_memory", {"content": "in \udc00 side"})
        found = await client.call_tool("search_memory", {"query": "in"})
    assert structured(found)["hits"][0]["content"] == "in \ufffd side"


@MODES
async def test_downstream_content_comes_back_as_it_was(mode: str) -> None:
    blocks: tuple[JsonObject, ...] = (
        {"type": "text", "text": "hi", "annotations": {"audience": ["user"]}, "_meta": {"a": 1}},
        {"type": "image", "data": "AAAA", "mimeType": "image/png"},
        {"type": "resource_link", "uri": "file:///x", "name": "x"},
        {"type": "resource", "resource": {"uri": "file:///y", "text": "inside"}},
    )
    answer = ToolResult(content=blocks, structured={"rows": [1, None]}, is_error=True)
    result = await call_tool(answer, mode=mode)
    dumped = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert dumped["content"] == list(blocks)
    assert dumped["structuredContent"] == {"rows": [1, None]}
    assert dumped["isError"] is True
    assert {"queue_ms", "run_ms", "audit_id"} <= dumped["_meta"].keys()


@MODES
async def test_content_of_an_unknown_kind_comes_back_as_text(mode: str) -> None:
    answer = ToolResult(content=({"type": "hologram", "depth": 3},))
    [text] = texts(await call_tool(answer, mode=mode))
    assert json.loads(text) == {"type": "hologram", "depth": 3}


@MODES
async def test_structured_content_that_is_no_object_reaches_those_who_know_it(mode: str) -> None:
    block = {"type": "text", "text": "[1]"}
    result = await call_tool(ToolResult(content=(block,), structured=[1]), mode=mode)
    assert texts(result) == ["[1]"]
    assert result.structured_content == ([1] if mode == "auto" else None)


async def test_a_number_json_does_not_know_becomes_null() -> None:
    answer = ToolResult(content=(), structured={"x": float("nan"), "y": [float("inf")]})
    assert structured(await call_tool(answer)) == {"x": None, "y": [None]}


@virtual_time
async def test_a_deadline_of_a_call_holds() -> None:
    kernel = build(core(llm=EchoCore(seconds_per_token=10.0)))
    async with Client(server(kernel)) as client:
        started = anyio.current_time()
        result = await client.call_tool("llm_generate", {"prompt": "a b c", "deadline_ms": 1500})
        assert anyio.current_time() - started == pytest.approx(1.5)
    assert structured(result)["error"]["code"] == "backend_timeout"


async def test_a_rate_limit_says_when_to_come_back() -> None:
    slow = agent(allowance=Allowance(calls_per_minute=1))
    async with Client(server(build(), agents=known(slow))) as client:
        await client.call_tool("find_tools", {})
        result = await client.call_tool("find_tools", {})
    error = structured(result)["error"]
    assert error["code"] == "rate_limited"
    assert 0 < error["retry_after_s"] <= 60


async def test_found_tools_are_listed_with_their_arguments() -> None:
    class Files(OneTool):
        async def list_tools(self, /) -> tuple[ToolSpec, ...]:
            path, head = {"type": "string"}, {"type": ["integer", "null"]}
            schema = {"type": "object", "properties": {"path": path, "head": head}}
            long = "Read\na file. " * 50
            return (
                ToolSpec(name="bare", description="", input_schema={"properties": [], "x": 1}),
                ToolSpec(
                    name="read", description=long, input_schema=schema | {"required": ["path"]}
                ),
            )

    kernel = build(servers={"fs": Files(ToolResult(content=()))})
    async with Client(server(kernel)) as client:
        found = await client.call_tool("find_tools", {})
    bare, read = texts(found)[0].splitlines()
    assert bare == "- fs.bare(): "
    assert read.startswith("- fs.read(path: string, head?: any): Read a file. Read")
    assert len(read) < 250
    assert [tool["name"] for tool in structured(found)["tools"]] == ["fs.bare", "fs.read"]


async def test_memories_are_listed_for_reading_and_as_data() -> None:
    async with Client(server()) as client:
        added = await client.call_tool(
            "add_memory", {"content": TEA, "tags": ["t"], "data": {"n": None}}
        )
        again = await client.call_tool("add_memory", {"content": TEA, "data": {"n": None}})
        found = await client.call_tool("search_memory", {"query": "tea"})
        gone = await client.call_tool("forget_memory", {"ids": ["m1"]})
        nothing = await client.call_tool("search_memory", {"query": "tea"})
    assert structured(added) == {"id": "m1", "deduplicated": False}
    assert texts(again) == ["Already stored as m1."]
    assert texts(found) == ["- tea at four\n  - and cake [m1, 2026-09-21]"]
    [hit] = structured(found)["hits"]
    assert (hit["tags"], hit["data"], hit["created"]) == (
        ["t"],
        {"n": None},
        "2026-09-21T14:13:20Z",
    )
    assert structured(gone) == {"forgotten": 1}
    assert texts(nothing) == ["No memory fits."]


@pytest.mark.parametrize(("created", "shown"), [(1e18, "9999-12-31"), (-1e18, "0001-01-01")])
async def test_a_memory_of_no_calendar_s_time_is_found_like_others(
    created: float, shown: str
) -> None:
    kernel = build(memories=memories())
    await kernel.add_memory(agent(), AddCall(draft=MemoryDraft(content=TEA, created=created)))
    async with Client(server(kernel)) as client:
        found = await client.call_tool("search_memory", {"query": "tea"})
    [hit] = structured(found)["hits"]
    assert hit["created"].startswith(shown)


async def test_a_session_is_forgotten_with_what_was_said_in_it() -> None:
    working = WorkingMemory(ListSessions(now=lambda: NOW), now=lambda: NOW)
    kernel = build(memories=memories(), working=working)
    prompt = {"prompt": "hello", "session": "s", "memory": {"k": 0, "turns": 1}}
    async with Client(server(kernel)) as client:
        await client.call_tool("llm_generate", prompt)
        await client.call_tool("add_memory", {"content": TEA, "session": "s"})
        gone = await client.call_tool("forget_memory", {"session": "s"})
        again = await client.call_tool("forget_memory", {"session": "s"})
        both = await client.call_tool("forget_memory", {"session": "s", "ids": ["m1"]})
    assert structured(gone) == {"forgotten": 1, "exchanges": 1}
    assert texts(gone) == ["Forgot 1 memories, and 1 exchanges of the session."]
    assert structured(again) == {"forgotten": 0}
    assert "'session'" in texts(both)[0]
