"""Streams that lie, break or overflow: never taken for a whole answer."""

import gzip
import json

import anyio
import pytest

from backends.errors import (
    BackendRefusedError,
    BackendUnavailableError,
    ContextOverflowError,
    IncompleteAnswerError,
)
from backends.messages import Usage
from backends.openai_compatible import OpenAICore
from backends.openai_compatible import stream as stream_module
from tests.backends.openai_compatible.asking import ask, prompt
from tests.backends.openai_compatible.endpoint import (
    JSON,
    SSE,
    Behaviour,
    Endpoint,
    Exchange,
    delta,
    replies,
    says,
    streams,
    streams_then_cuts,
    usage,
)
from tests.backends.pieces import Pieces

HTML = {"content-type": "text/html; charset=utf-8"}
WHOLE = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    "behaviour",
    [
        streams_then_cuts(delta("one "), delta("two")),
        streams(delta("one "), delta("two")),
        streams(delta("one "), delta("two"), "[DONE]"),
        streams(delta("one "), delta("two"), usage(9, 9), "[DONE]"),
        streams(delta("one "), delta("two"), {"choices": []}, "[DONE]"),
        streams(delta("one "), delta("two"), delta(finish="because"), "[DONE]"),
        streams(delta("one "), delta("two"), delta(finish="error"), "[DONE]"),
        streams(delta("one "), delta("two"), {"error": {"message": "overloaded"}}),
        streams(delta("one "), delta("two"), b"data: {not json\n\n"),
        streams(delta("one "), delta("two"), b"data: [1]\n\n"),
        streams(delta("one "), delta("two"), b"data: \xff\n\n"),
        streams(delta("one "), delta("two"), b"data: " + b"[" * 100_000 + b"\n\n"),
        streams(delta("one "), delta("two"), b'data: {"choices": [{"finish_reason": "stop"}]}'),
    ],
)
async def test_an_answer_that_breaks_off_is_incomplete_and_says_what_came(
    core: OpenAICore, endpoint: Endpoint, behaviour: Behaviour
) -> None:
    endpoint.behaviour = behaviour
    pieces = Pieces()
    with pytest.raises(IncompleteAnswerError, match="'cloud'") as caught:
        await ask(core, prompt(), pieces)
    assert caught.value.text == pieces.text == "one two"
    assert caught.value.usage.output_tokens in {2, 9}
    assert caught.value.usage.input_tokens > 0


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (replies(b"<html>Sign in</html>", headers=HTML), "text/html"),
        (replies(WHOLE), "application/json"),
        (replies({"error": {"message": "no"}}), "application/json"),
        (replies(b"", headers=SSE), "before the model said"),
        (replies(b"hello\n\n", headers={}), "before the model said"),
        (streams("[DONE]"), "before the model said"),
        (replies(b"", headers={**SSE, "content-encoding": "gzip"}), "compressed"),
        (streams_then_cuts(), "lost"),
        (streams(b"data: \xff\n\n"), "UTF-8"),
        (streams({"error": {"message": "overloaded", "code": 503}}), "HTTP 503"),
        (streams({"error": {"type": "rate_limit_error"}}), "busy"),
        (streams({"error": "no"}), "failed"),
    ],
)
async def test_a_200_that_holds_no_answer_is_a_failure(
    core: OpenAICore, endpoint: Endpoint, behaviour: Behaviour, text: str
) -> None:
    endpoint.behaviour = behaviour
    pieces = Pieces()
    with pytest.raises(BackendUnavailableError, match=text):
        await ask(core, prompt(), pieces)
    assert pieces.all == []


async def test_the_connection_of_a_page_is_closed(core: OpenAICore, endpoint: Endpoint) -> None:
    async def page_without_end(exchange: Exchange) -> None:
        await exchange.start(200, HTML)
        await exchange.client_left()
        endpoint.left.set()

    endpoint.behaviour = page_without_end
    with pytest.raises(BackendUnavailableError) as caught:
        await ask(core)
    with anyio.fail_after(5):
        await endpoint.left.wait()
    # Asked only now: while the error lives, no garbage collection closes the connection.
    assert "text/html" in str(caught.value)


async def test_a_refusal_within_a_stream_is_a_refusal(core: OpenAICore, endpoint: Endpoint) -> None:
    endpoint.behaviour = streams({"error": {"code": 400, "message": "bad schema"}})
    with pytest.raises(BackendRefusedError, match="bad schema"):
        await ask(core)
    message = "maximum context length is 100 tokens, however you requested 120"
    endpoint.behaviour = streams({"error": {"code": 400, "message": message}})
    with pytest.raises(ContextOverflowError):
        await ask(core)


async def test_an_event_without_end_is_refused_before_it_fills_the_memory(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    async def flood(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.send(b"data: ")
        for _ in range(256):
            await exchange.send(b"x" * 65536)
        await exchange.end()

    endpoint.behaviour = flood
    with pytest.raises(BackendUnavailableError, match="more than an answer can be"):
        await ask(core)


async def test_a_body_without_end_is_refused(
    core: OpenAICore, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "_MAX_STREAM_BYTES", 1024 * 1024)

    async def flood(exchange: Exchange) -> None:
        await exchange.start()
        while True:
            await exchange.send(b": still here\n\n" * 1000)

    endpoint.behaviour = flood
    with pytest.raises(BackendUnavailableError, match="more than an answer can be"):
        await ask(core)


async def test_an_error_without_end_is_read_in_part(core: OpenAICore, endpoint: Endpoint) -> None:
    async def flood(exchange: Exchange) -> None:
        await exchange.start(400)
        while True:
            await exchange.send(b"x" * 65536)

    endpoint.behaviour = flood
    with pytest.raises(BackendRefusedError, match="HTTP 400"):
        await ask(core)


async def test_a_compressed_error_is_not_unpacked(core: OpenAICore, endpoint: Endpoint) -> None:
    headers = {**JSON, "content-encoding": "gzip"}
    packed = gzip.compress(b'{"error": {"message": "unpacked"}}')
    endpoint.behaviour = replies(packed, 400, headers)
    with pytest.raises(BackendRefusedError) as caught:
        await ask(core)
    assert "unpacked" not in str(caught.value)


async def test_an_error_that_breaks_off_is_a_lost_connection(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.start(500)
        await exchange.send(b'{"error": ')
        await exchange.cut()

    endpoint.behaviour = cut
    with pytest.raises(BackendUnavailableError, match="lost"):
        await ask(core)


async def test_an_end_without_its_usage_is_whole(core: OpenAICore, endpoint: Endpoint) -> None:
    endpoint.behaviour = streams_then_cuts(delta("all"), delta(finish="stop"))
    completion = await ask(core)
    assert completion.text == "all"
    assert completion.usage == Usage(input_tokens=5, output_tokens=1)


async def test_nothing_counts_after_the_end(core: OpenAICore, endpoint: Endpoint) -> None:
    late = (delta(" more"), delta(finish="length"), b"data: {\n\n")
    endpoint.behaviour = streams(delta("all", finish="stop"), "[DONE]", *late)
    completion = await ask(core)
    assert (completion.text, completion.reason) == ("all", "stop")


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_a_stream_reads_the_same_however_it_is_cut_up(
    core: OpenAICore, endpoint: Endpoint, size: int
) -> None:
    chunk = json.dumps(delta("héllo 😀", finish="stop"), ensure_ascii=False)
    body = (
        ": keep-alive\r\n\r\nevent: ping\r\nid: 1\r\n\r\n\r\n"
        f"event: chunk\r\nid: 2\r\ndata:{chunk}\r\n\r\ndata: [DONE]\n\n"
    ).encode()
    endpoint.behaviour = streams(*(body[at : at + size] for at in range(0, len(body), size)))
    assert (await ask(core)).text == "héllo 😀"


async def test_an_event_over_several_lines_is_one(core: OpenAICore, endpoint: Endpoint) -> None:
    lines = json.dumps(delta("all", finish="stop"), indent=1).splitlines()
    event = "\n".join(f"data: {line}" for line in lines)
    endpoint.behaviour = streams(f"{event}\n\n".encode(), "[DONE]")
    assert (await ask(core)).text == "all"


async def test_what_is_no_text_in_a_delta_is_no_text(core: OpenAICore, endpoint: Endpoint) -> None:
    odd = [None, 7, {"a": 1}, [7, None], True]
    chunks = [delta(value) for value in odd]
    strange = [{"choices": 7}, {"choices": [None]}, {"choices": [{"delta": "x"}]}, {}]
    endpoint.behaviour = streams(*strange, *chunks, delta("yes", finish="stop"), "[DONE]")
    pieces = Pieces()
    assert (await ask(core, prompt(), pieces)).text == "yes"
    assert len(pieces.all) == 1


async def test_the_next_call_after_a_broken_one_is_well(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    endpoint.behaviour = streams_then_cuts(delta("one"))
    with pytest.raises(IncompleteAnswerError):
        await ask(core)
    endpoint.behaviour = says("well")
    assert (await ask(core)).text == "well"
