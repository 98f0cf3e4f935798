"""Tools, log probabilities and sampling that not every endpoint takes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import IncompleteAnswerError, UnsupportedError
from backends.messages import (
    Completion,
    GenerateRequest,
    Message,
    RequestedCall,
    TokenLogprob,
    ToolSpec,
)
from backends.openai_compatible import OpenAICore, open_openai_core
from backends.openai_compatible.tool_calls import ToolNames
from tests.backends.openai_compatible.asking import ask, prompt, settings_for
from tests.backends.openai_compatible.endpoint import Endpoint, delta, streams, usage
from tests.backends.pieces import Pieces

READ = ToolSpec(
    name="fs.read_file",
    description="Read a file.",
    input_schema={"type": "object", "properties": {"path": {"type": "string"}}},
)
WITH_TOOLS = replace(prompt(), tools=(READ,), tool_choice="required")


def part(index: object = None, **function: object) -> dict[str, object]:
    numbered = {} if index is None else {"index": index}
    given_id = {"id": function.pop("id")} if "id" in function else {}
    return {**numbered, **given_id, "type": "function", "function": function}


def calls(*parts: object, finish: str = "tool_calls") -> tuple[object, ...]:
    return (*(delta(tool_calls=[each]) for each in parts), delta(finish=finish), "[DONE]")


async def test_tools_are_sent_under_names_the_api_takes(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    await ask(core, WITH_TOOLS)
    body = endpoint.requests[0].body
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "fs_read_file",
                "description": "Read a file.",
                "parameters": READ.input_schema,
            },
        }
    ]
    assert body["tool_choice"] == "required"


async def test_a_call_in_parts_is_put_together_under_its_own_name(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    endpoint.behaviour = streams(
        delta("Let me see."),
        *calls(
            part(0, id="c1", name="fs_read_file", arguments=""),
            part(0, arguments='{"path": '),
            part(0, arguments='"a.txt"}'),
            part(1, id="c2", name="other", arguments="{}"),
        ),
    )
    pieces = Pieces()
    answer = await ask(core, WITH_TOOLS, pieces)
    assert answer.text == "Let me see."
    assert answer.reason == "tool_calls"
    assert answer.calls == (
        RequestedCall(id="c1", name="fs.read_file", arguments={"path": "a.txt"}),
        RequestedCall(id="c2", name="other", arguments={}),
    )
    assert pieces.all[-1].tokens > 0  # what a model writes for a call is paid for too


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([part(name="a"), part(name="b")], id="no index"),
        pytest.param([part(0, id="x", name="a"), part(0, id="y", name="b")], id="all numbered 0"),
        pytest.param([part(7, name="a"), part(9, name="b")], id="gaps"),
        pytest.param([part(name="a", arguments={"n": 1}), part(name="b")], id="object"),
    ],
)
async def test_whole_calls_are_told_apart_however_they_are_numbered(
    core: OpenAICore, endpoint: Endpoint, parts: list[object]
) -> None:
    endpoint.behaviour = streams(*calls(*parts, finish="stop"))
    answer = await ask(core, WITH_TOOLS)
    assert answer.reason == "tool_calls"
    assert [call.name for call in answer.calls] == ["a", "b"]
    assert len({call.id for call in answer.calls}) == 2


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([part(0, name="a", arguments="{cut")], id="no json"),
        pytest.param([part(0, name="a", arguments="[]")], id="no object"),
        pytest.param([part(0, name="a", arguments='{"n": NaN}')], id="no number"),
        pytest.param([part(0, arguments="{}")], id="no name"),
        pytest.param([part(0, name="a", arguments="[" * 100_000)], id="too deep"),
        pytest.param([part(number, name="a") for number in range(129)], id="too many"),
        pytest.param([], id="none"),
    ],
)
async def test_calls_that_cannot_be_read_are_no_complete_answer(
    core: OpenAICore, endpoint: Endpoint, parts: list[object]
) -> None:
    endpoint.behaviour = streams(*calls(*parts))
    with pytest.raises(IncompleteAnswerError, match="asks for"):
        await ask(core, WITH_TOOLS)


async def test_calls_that_were_cut_off_are_not_asked_for(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    endpoint.behaviour = streams(*calls(part(0, name="a", arguments='{"x'), finish="length"))
    answer = await ask(core, WITH_TOOLS)
    assert (answer.reason, answer.calls) == ("length", ())


async def test_earlier_calls_and_their_results_are_told(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    asked = RequestedCall(id="c1", name="fs.read_file", arguments={"path": "a"})
    conversation = (
        Message("user", "read a"),
        Message("assistant", "", calls=(asked,)),
        Message("tool", "content", call_id="c1"),
    )
    await ask(core, replace(WITH_TOOLS, messages=conversation))
    told = {"name": "fs_read_file", "arguments": '{"path": "a"}'}
    assert endpoint.requests[0].body["messages"] == [
        {"role": "user", "content": "read a"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": told}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "content"},
    ]


async def test_log_probabilities_are_asked_for_and_given(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    chunk = delta("hi")
    likeliest = [{"token": "hi", "logprob": -0.5}, {"token": "ho", "logprob": float("-inf")}]
    told = {"content": [{"token": "hi", "logprob": -0.5, "top_logprobs": likeliest}]}
    chunk["choices"][0]["logprobs"] = told  # type: ignore[index]
    endpoint.behaviour = streams(chunk, delta(finish="stop"), usage(1, 1), "[DONE]")
    answer = await ask(core, replace(prompt(), logprobs=2))
    assert answer.logprobs == (TokenLogprob("hi", -0.5, (("hi", -0.5), ("ho", -9999.0))),)
    body = endpoint.requests[0].body
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)


async def test_penalties_are_sent_under_the_endpoint_s_names(endpoint: Endpoint) -> None:
    request = replace(
        prompt(), min_p=0.1, repeat_penalty=1.2, presence_penalty=0.0, frequency_penalty=-1.0
    )
    settings = replace(settings_for(endpoint), repeat_penalty_field="repetition_penalty")
    async with open_openai_core(settings) as core:
        await ask(core, request)
    body = endpoint.requests[0].body
    assert (body["min_p"], body["repetition_penalty"]) == (0.1, 1.2)
    assert (body["presence_penalty"], body["frequency_penalty"]) == (0.0, -1.0)


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("tools", WITH_TOOLS),
        ("logprobs", replace(prompt(), logprobs=0)),
        ("min_p", replace(prompt(), min_p=0.0)),
    ],
)
async def test_what_an_endpoint_lacks_is_refused_before_it_is_asked(
    endpoint: Endpoint, name: str, request_: GenerateRequest
) -> None:
    settings = replace(settings_for(endpoint), lacks=frozenset({"tools", "logprobs", "min_p"}))
    async with open_openai_core(settings) as core:
        with pytest.raises(UnsupportedError, match=f"'cloud' takes no '{name}'"):
            await ask(core, request_)
        assert not endpoint.requests
        answer = await ask(core)
    assert isinstance(answer, Completion)


async def test_a_tool_s_schema_that_is_no_json_is_refused(core: OpenAICore) -> None:
    broken = replace(READ, input_schema={"const": float("nan")})
    with pytest.raises(UnsupportedError, match="outside JSON"):
        await ask(core, replace(prompt(), tools=(broken,)))


@given(st.lists(st.text("ab._é" + "x" * 3, max_size=70), unique=True, max_size=8))
def test_names_that_differ_stay_different_and_come_back(names: list[str]) -> None:
    tools = tuple(ToolSpec(name=name, description="", input_schema={}) for name in names)
    known = ToolNames(replace(prompt(), tools=tools))
    sent = [known.sent(name) for name in names]
    assert len(set(sent)) == len(names)
    assert all(0 < len(each) <= 64 and each.replace("_", "").isascii() for each in sent)
    assert [known.meant(each) for each in sent] == names
