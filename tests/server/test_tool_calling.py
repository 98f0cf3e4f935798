"""`llm_generate` with tools and log probabilities, and what of its course it tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from mcp import Client
from mcp_types import CallToolResult, TextContent

from aios_mcp.errors import InvalidArgumentError
from aios_mcp.server.arguments import parse
from aios_mcp.server.schemas import GenerateArguments
from backends.errors import BackendUnavailableError, IncompleteAnswerError
from backends.messages import (
    Completion,
    CoreStatus,
    GenerateRequest,
    Piece,
    RequestedCall,
    TokenLogprob,
    Usage,
)
from backends.protocols import Emit, Turn
from backends.scripted import EchoCore
from backends.turns import UNINTERRUPTED
from tests.kernel.kernels import build, core
from tests.server.surfaces import server

CALL = RequestedCall(id="c1", name="fs.read", arguments={"path": "a.txt"})
TOOL = {
    "name": "fs.read",
    "description": "Read a file.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
}
USAGE = Usage(input_tokens=5, cached_tokens=2, output_tokens=3)


@dataclass(slots=True)
class Asking:
    """Asks for a tool until it is told a result; breaks off where it was told to."""

    breaks_off: bool = False
    heard: list[GenerateRequest] = field(default_factory=list[GenerateRequest])

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        self.heard.append(request)
        await emit(Piece("hm", 1))
        if self.breaks_off:
            raise IncompleteAnswerError("the stream was cut", text="hm", usage=USAGE)
        logprobs = (TokenLogprob("hm", -0.5, (("hm", -0.5), ("ah", -1.5))),)
        if request.messages[-1].role == "tool":
            return Completion("hm", "stop", USAGE, logprobs=logprobs)
        return Completion("hm", "tool_calls", USAGE, calls=(CALL,), logprobs=logprobs)

    def status(self) -> CoreStatus:
        return CoreStatus(model="asking", state="ready", takes_tools=True)


async def generate(client: Client, **arguments: object) -> CallToolResult:
    return await client.call_tool("llm_generate", arguments)


def structured(result: CallToolResult) -> dict[str, Any]:
    return cast("dict[str, Any]", result.structured_content)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_model_asks_for_a_tool_and_is_told_its_result(mode: str) -> None:
    asking = Asking()
    async with Client(server(build(core(llm=asking))), mode=mode) as client:
        first = await generate(client, prompt="read a", tools=[TOOL], tool_choice="required")
        answer = structured(first)
        assert answer["finish_reason"] == "tool_calls"
        assert answer["calls"] == [{"id": "c1", "name": "fs.read", "arguments": {"path": "a.txt"}}]
        assert [block.text for block in first.content if isinstance(block, TextContent)] == [
            "hm",
            'Note: The model asks for fs.read with {"path": "a.txt"}.',
        ]
        told = [
            {"role": "user", "content": "read a"},
            {"role": "assistant", "content": "hm", "calls": answer["calls"]},
            {"role": "tool", "content": "text of a", "call_id": "c1"},
        ]
        second = structured(await generate(client, messages=told, tools=[TOOL]))
    assert second["finish_reason"] == "stop"
    assert "calls" not in second
    offered, continued = asking.heard
    assert (offered.tools[0].name, offered.tool_choice) == ("fs.read", "required")
    assert continued.messages[1].calls == (CALL,)
    assert (continued.messages[2].text, continued.messages[2].call_id) == ("text of a", "c1")


async def test_found_tools_can_be_offered_as_they_are() -> None:
    asking = Asking()
    async with Client(server(build(core(llm=asking)))) as client:
        found = structured(await client.call_tool("find_tools", {}))["tools"]
        await generate(client, prompt="x", tools=found)
    assert [tool.name for tool in asking.heard[0].tools] == ["demo.echo", "demo.wait"]


async def test_log_probabilities_stand_beside_the_answer() -> None:
    asking = Asking()
    async with Client(server(build(core(llm=asking)))) as client:
        answer = structured(await generate(client, prompt="x", logprobs=2))
    likeliest = [{"token": "hm", "logprob": -0.5}, {"token": "ah", "logprob": -1.5}]
    assert answer["logprobs"] == [{"token": "hm", "logprob": -0.5, "likeliest": likeliest}]
    assert asking.heard[0].logprobs == 2


async def test_sampling_reaches_the_core() -> None:
    asking = Asking()
    sampling = {
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.5,
    }
    async with Client(server(build(core(llm=asking)))) as client:
        await generate(client, prompt="x", **sampling)
    assert {name: getattr(asking.heard[0], name) for name in sampling} == sampling


async def test_the_same_key_gives_calls_attempts_and_all_again() -> None:
    down = core("down", EchoCore(fails_with=BackendUnavailableError("down")))
    kernel = build(down, core("asking", Asking()))
    async with Client(server(kernel)) as client:
        asked: dict[str, object] = {"prompt": "x", "logprobs": 1, "idempotency_key": "k"}
        first = structured(await generate(client, **asked))
        again = structured(await generate(client, **asked))
    assert first == again
    assert [(each["core"], each["outcome"]) for each in first["attempts"]] == [
        ("down", "backend_unavailable"),
        ("asking", "ok"),
    ]
    assert first["usage"]["cached_tokens"] == 2


async def test_an_answer_that_breaks_off_says_what_it_used() -> None:
    async with Client(server(build(core(llm=Asking(breaks_off=True))))) as client:
        result = await generate(client, prompt="x")
    error = structured(result)["error"]
    assert error["code"] == "backend_unavailable"
    assert error["usage"] == {"input_tokens": 5, "cached_tokens": 2, "output_tokens": 3}


ASKED: dict[str, object] = {"id": "c1", "name": "t", "arguments": {}}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"prompt": "x", "tool_choice": "required"}, "'tool_choice' is required, but there are no"),
        ({"prompt": "x", "tools": [TOOL, TOOL]}, "'tools' has two of one name"),
        ({"prompt": "x", "tools": [{"name": "t"}]}, "missing argument 'tools.0.input_schema'"),
        ({"prompt": "x", "tools": [TOOL | {"strict": True}]}, "'tools.0.strict'"),
        ({"prompt": "x", "min_p": 1.5}, "'min_p' must be at most 1"),
        ({"prompt": "x", "logprobs": 21}, "'logprobs' must be at most 20"),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "'messages.0' needs 'call_id' with the role tool",
        ),
        (
            {"messages": [{"role": "user", "content": "x", "call_id": "c1"}]},
            "'messages.0' needs 'call_id' with the role tool, and with no other",
        ),
        (
            {"messages": [{"role": "user", "content": "x", "calls": [ASKED]}]},
            "'messages.0' has 'calls', which only the role assistant has",
        ),
        (
            {"messages": [{"role": "assistant", "content": "", "calls": [{"id": "c1"}]}]},
            "missing argument 'messages.0.calls.0.name'",
        ),
    ],
)
def test_what_makes_no_sense_is_named(arguments: Mapping[str, object], problem: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        parse(GenerateArguments, arguments)
    assert problem in str(error.value)
