"""What is asked of an endpoint, and what becomes of its answers."""

from dataclasses import replace

import anyio
import pytest

from backends.errors import SchemaUnsupportedError
from backends.messages import Completion, GenerateRequest, Message, Piece, Role, Usage
from backends.openai_compatible import OpenAICore, OpenAISettings, open_openai_core
from tests.backends.openai_compatible.asking import ask, prompt, settings_for
from tests.backends.openai_compatible.endpoint import (
    Endpoint,
    Exchange,
    delta,
    fails,
    hangs,
    in_turn,
    says,
    streams,
    streams_then_waits,
    usage,
)
from tests.backends.pieces import Pieces

CLOSED = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}


async def test_an_answer_is_its_pieces_and_its_usage(core: OpenAICore, endpoint: Endpoint) -> None:
    pieces = Pieces()
    completion = await ask(core, pieces=pieces)
    expected = Usage(input_tokens=7, cached_tokens=3, output_tokens=2)
    assert completion == Completion("hello world", "stop", expected)
    assert pieces.all == [Piece("hello", 1), Piece(" world", 1)]
    assert endpoint.requests[0].path == "/v1/chat/completions"
    assert core.status().state == "ready"
    assert core.status().note == ""


async def test_only_what_the_request_sets_is_sent(core: OpenAICore, endpoint: Endpoint) -> None:
    await ask(core, prompt("hi", max_tokens=9))
    assert endpoint.requests[0].body == {
        "model": "some-model",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_sampling_is_sent_when_it_is_set(endpoint: Endpoint) -> None:
    settings = replace(settings_for(endpoint), max_tokens_field="max_completion_tokens")
    request = replace(prompt(), temperature=0.0, top_p=0.5, seed=0, stop=("END",))
    async with open_openai_core(settings) as core:
        await ask(core, request)
    body = endpoint.requests[0].body
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 16
    assert (body["temperature"], body["top_p"], body["seed"]) == (0.0, 0.5, 0)
    assert body["stop"] == ["END"]


async def test_roles_are_kept_and_a_tools_result_is_told_by_the_user(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    roles: tuple[Role, ...] = ("system", "user", "assistant", "tool")
    await ask(core, GenerateRequest(messages=tuple(Message(role, role) for role in roles)))
    assert endpoint.requests[0].body["messages"] == [
        {"role": "system", "content": "system"},
        {"role": "user", "content": "user"},
        {"role": "assistant", "content": "assistant"},
        {"role": "user", "content": "Result of a tool:\ntool"},
    ]


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "properties": {"name": {"type": "string", "default": ""}}}, False),
        ({**CLOSED, "properties": {"name": {"type": "array", "items": CLOSED}}}, True),
        ({"type": "object"}, False),
        ({"type": "string"}, False),
    ],
)
async def test_a_schema_is_sent_strict_where_the_api_takes_it(
    core: OpenAICore, endpoint: Endpoint, schema: dict[str, object], strict: bool
) -> None:
    await ask(core, replace(prompt(), schema=schema))
    assert endpoint.requests[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": strict},
    }


async def test_a_schema_is_refused_where_the_endpoint_takes_none(endpoint: Endpoint) -> None:
    settings = replace(settings_for(endpoint), lacks=frozenset({"schema"}))
    async with open_openai_core(settings) as core:
        with pytest.raises(SchemaUnsupportedError, match=r"'cloud'.*schema_output = true"):
            await ask(core, replace(prompt(), schema=CLOSED))
    assert not endpoint.requests


@pytest.mark.parametrize("value", ["\ud800", float("nan"), object()])
async def test_a_schema_that_is_not_json_is_refused(core: OpenAICore, value: object) -> None:
    with pytest.raises(SchemaUnsupportedError, match="outside JSON"):
        await ask(core, replace(prompt(), schema={"const": value}))


async def test_lone_surrogates_in_a_prompt_are_replaced(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    await ask(core, replace(prompt("a\ud800b \ud83d\ude00"), stop=("\udfff",)))
    assert endpoint.requests[0].body["messages"] == [{"role": "user", "content": "a\ufffdb 😀"}]
    assert endpoint.requests[0].body["stop"] == ["\ufffd"]


async def test_what_cannot_be_encoded_or_shown_is_replaced_in_an_answer(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    endpoint.behaviour = says("a\ud800b", "\x00\x1b[2J\u0085", "\t\n", "\ud83d", "\ude00", "\udbff")
    pieces = Pieces()
    completion = await ask(core, pieces=pieces)
    assert completion.text == "a\ufffdb\ufffd\ufffd[2J\ufffd\t\n😀\ufffd"
    assert pieces.text == completion.text


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_thoughts_count_but_are_no_part_of_the_answer(
    core: OpenAICore, endpoint: Endpoint, name: str
) -> None:
    thought = {name: "let me think about it"}
    endpoint.behaviour = streams(delta(**thought), delta("yes", finish="stop"), "[DONE]")
    pieces = Pieces()
    completion = await ask(core, pieces=pieces)
    assert completion.text == "yes"
    assert pieces.all == [Piece("", 5), Piece("yes", 1)]
    assert completion.usage.output_tokens == 6


async def test_a_refusal_is_told_as_filtered_content(core: OpenAICore, endpoint: Endpoint) -> None:
    endpoint.behaviour = streams(delta(refusal="I cannot do that."), delta(finish="stop"), "[DONE]")
    completion = await ask(core)
    assert (completion.text, completion.reason) == ("I cannot do that.", "content_filter")


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "length"), ("content_filter", "content_filter"), ("eos", "stop")],
)
async def test_reasons_are_told(
    core: OpenAICore, endpoint: Endpoint, finish: str, reason: str
) -> None:
    endpoint.behaviour = says("a", finish=finish)
    assert (await ask(core)).reason == reason


async def test_text_in_parts_is_joined(core: OpenAICore, endpoint: Endpoint) -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]
    endpoint.behaviour = says("", parts)  # type: ignore[arg-type]
    assert (await ask(core)).text == "yes"


async def test_usage_is_estimated_and_noted_where_the_endpoint_reports_none(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    endpoint.behaviour = streams(delta("one "), delta("two", finish="stop"), "[DONE]")
    completion = await ask(core, prompt("tell me a story"))
    assert completion.usage == Usage(input_tokens=7, output_tokens=2)
    assert core.status().note == "the endpoint reports no usage: tokens are estimated"
    endpoint.behaviour = says("well")
    await ask(core)
    assert core.status().note == ""


@pytest.mark.parametrize("count", [-1, 10**30, "7", True, None])
async def test_nonsense_in_a_usage_is_not_believed(
    core: OpenAICore, endpoint: Endpoint, count: object
) -> None:
    endpoint.behaviour = says("one", " two", reported=usage(count, count, 99))
    completion = await ask(core, prompt("word"))
    assert completion.usage == Usage(input_tokens=5, cached_tokens=5, output_tokens=2)


@pytest.mark.parametrize("status", [400, 422])
async def test_an_endpoint_that_refuses_stream_options_is_asked_without(
    core: OpenAICore, endpoint: Endpoint, status: int
) -> None:
    refusal = fails(status, "Unrecognized request argument: stream_options")
    endpoint.behaviour = in_turn(refusal, says("one"))
    assert (await ask(core)).text == "one"
    assert (await ask(core)).text == "one"
    asked = ["stream_options" in request.body for request in endpoint.requests]
    assert asked == [True, False, False]


async def test_calls_that_were_refused_stream_options_together_are_all_asked_again(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    asked, all_asked = 0, anyio.Event()

    async def refuse_together(exchange: Exchange) -> None:
        nonlocal asked
        if "stream_options" not in exchange.request.body:
            return await says("one")(exchange)
        asked += 1
        if asked == 3:
            all_asked.set()
        await all_asked.wait()
        return await fails(400, "stream_options is not supported")(exchange)

    endpoint.behaviour = refuse_together
    texts: list[str] = []

    async def one() -> None:
        texts.append((await ask(core)).text)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(one)
    assert texts == ["one"] * 3


async def test_a_connection_serves_the_next_call_too(core: OpenAICore, endpoint: Endpoint) -> None:
    for _ in range(3):
        await ask(core)
    assert {request.connection for request in endpoint.requests} == {1}


async def test_an_answer_is_not_held_up_by_a_stream_that_does_not_end(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    endpoint.behaviour = streams_then_waits(endpoint, delta("all", finish="stop"))
    assert (await ask(core)).text == "all"
    with anyio.fail_after(5):
        await endpoint.left.wait()


async def test_cancelling_closes_the_connection_before_the_first_byte(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    endpoint.behaviour = hangs(endpoint)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, core)
            await endpoint.asked.wait()
            tasks.cancel_scope.cancel()
        await endpoint.left.wait()


async def test_cancelling_closes_the_connection_within_a_stream(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    endpoint.behaviour = streams_then_waits(endpoint, delta("once"))
    pieces = Pieces()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, core, prompt(), pieces)
            await pieces.first.wait()
            tasks.cancel_scope.cancel()
        await endpoint.left.wait()
    assert core.status().state == "ready"


async def test_a_receiver_that_fails_closes_the_connection_and_keeps_its_error(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    async def emit(piece: Piece) -> None:
        raise OSError(f"no room for {piece.text!r}")

    endpoint.behaviour = streams_then_waits(endpoint, delta("once"))
    with anyio.fail_after(5):
        with pytest.raises(OSError, match="no room") as caught:
            await core.generate(prompt(), emit)
        await endpoint.left.wait()
    # Asked only now: while the error lives, no garbage collection closes the connection.
    assert str(caught.value) == "no room for 'once'"


async def test_many_calls_run_at_once(core: OpenAICore, endpoint: Endpoint) -> None:
    waiting, all_there = 0, anyio.Event()
    behave = says("a", "b")

    async def gather(exchange: Exchange) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 32:
            all_there.set()
        await all_there.wait()
        await behave(exchange)

    endpoint.behaviour = gather
    async with anyio.create_task_group() as tasks:
        for _ in range(32):
            tasks.start_soon(ask, core)
    assert endpoint.connections == 32


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("base_url", "ftp://host/v1", "base_url"),
        ("base_url", "https:///v1", "base_url"),
        ("base_url", "https://user:secret@host/v1", "no credentials"),
        ("base_url", "https://host/v1?key=secret", "no credentials"),
        ("model", "", "model"),
        ("api_key", "", "api_key"),
        ("api_key", "secret\nx-evil: 1", "api_key"),
        ("idle_deadline_seconds", 0.0, "idle_deadline_seconds"),
        ("max_connections", 0, "max_connections"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(key: str, value: object, text: str) -> None:
    given: dict[str, object] = {"name": "c", "base_url": "https://host/v1", "model": "m"}
    with pytest.raises(ValueError, match=text) as caught:
        OpenAISettings(**{**given, key: value})  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
