"""What refusals and failures of an endpoint become, and how long it is then left alone."""

import errno
import socket
from dataclasses import replace

import anyio
import pytest

from backends.errors import (
    BackendError,
    BackendRefusedError,
    BackendTimeoutError,
    BackendUnavailableError,
    ContextOverflowError,
)
from backends.openai_compatible import OpenAICore, open_openai_core
from tests.backends.openai_compatible.asking import (
    CANARY,
    Clock,
    ask,
    core_with_clock,
    prompt,
    settings_for,
)
from tests.backends.openai_compatible.endpoint import (
    Behaviour,
    Endpoint,
    Exchange,
    delta,
    fails,
    hangs,
    replies,
    says,
    streams_then_waits,
)
from tests.backends.pieces import Pieces


@pytest.mark.parametrize("status", [400, 404, 405, 413, 422])
async def test_a_request_that_is_refused_is_not_tried_elsewhere(
    core: OpenAICore, endpoint: Endpoint, status: int
) -> None:
    endpoint.behaviour = fails(status, "temperature must be below 2")
    for _ in range(6):
        with pytest.raises(BackendRefusedError, match=r"'cloud'.*: temperature must be below 2"):
            await ask(core)
    assert len(endpoint.requests) == 6, "the endpoint is well"


@pytest.mark.parametrize(
    ("behaviour", "shown"),
    [
        (replies({"error": {"message": "reason"}}, 400), True),
        (replies({"error": "reason"}, 400), True),
        (replies({"message": "reason"}, 400), True),
        (replies({"detail": "reason"}, 400), True),
        (replies({"detail": [{"input": "reason"}]}, 400), False),
        (replies(b"reason", 400, {"content-type": "text/plain"}), False),
        (replies(b"<html>reason</html>", 400, {"content-type": "text/html"}), False),
        (replies({"error": {"message": "reason"}}, 500), False),
    ],
)
async def test_a_reason_is_shown_and_a_body_is_not(
    core: OpenAICore, endpoint: Endpoint, behaviour: Behaviour, shown: bool
) -> None:
    endpoint.behaviour = behaviour
    with pytest.raises(BackendError) as caught:
        await ask(core)
    assert ("reason" in str(caught.value)) == shown


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("Use 'max_completion_tokens' instead", 'max_tokens_field = "max_completion_tokens"'),
        ("response_format type is unavailable", "schema_output = false"),
    ],
)
async def test_a_refusal_that_a_setting_cures_names_the_setting(
    core: OpenAICore, endpoint: Endpoint, message: str, hint: str
) -> None:
    endpoint.behaviour = fails(400, message)
    with pytest.raises(BackendRefusedError, match=hint):
        await ask(core)


@pytest.mark.parametrize(
    ("error", "wanted", "limit"),
    [
        (
            "This model's maximum context length is 8192 tokens. However, you requested 9010"
            " tokens (9000 in the messages, 10 in the completion).",
            9010,
            8192,
        ),
        (
            "This model's maximum context length is 4096 tokens. However, your messages resulted"
            " in 5000 tokens.",
            5000,
            4096,
        ),
        ("prompt is too long: 210000 tokens > 200000 maximum", 210000, 200000),
        ("maximum context length is 8,192 tokens, you requested 9,010 tokens", 9010, 8192),
        (
            {
                "message": "the request exceeds the available context size",
                "n_prompt_tokens": 700,
                "n_ctx": 512,
            },
            716,
            512,
        ),
    ],
)
async def test_a_prompt_that_does_not_fit_is_told_with_its_figures(
    core: OpenAICore, endpoint: Endpoint, error: object, wanted: int, limit: int
) -> None:
    body = {"error": {"message": error} if isinstance(error, str) else error}
    endpoint.behaviour = replies(body, 400)
    with pytest.raises(ContextOverflowError) as caught:
        await ask(core)
    assert (caught.value.wanted, caught.value.limit) == (wanted, limit)


async def test_a_prompt_that_does_not_fit_is_told_without_figures_too(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    for message in ("Too much.", f"maximum context length is 9, requested {'9' * 5000}"):
        error = {"message": message, "code": "context_length_exceeded"}
        endpoint.behaviour = replies({"error": error}, 400)
        with pytest.raises(BackendRefusedError, match="do not fit its context; shorten"):
            await ask(core)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 529])
async def test_a_failing_endpoint_is_left_alone_after_some_failures(
    endpoint: Endpoint, status: int
) -> None:
    endpoint.behaviour = fails(status, "internal address 10.0.0.7")
    clock = Clock()
    async with core_with_clock(endpoint, clock) as core:
        for _ in range(4):
            with pytest.raises(BackendUnavailableError, match=f"HTTP {status}") as caught:
                await ask(core)
            assert "10.0.0.7" not in str(caught.value)
        assert core.status().state == "failed"
        with pytest.raises(BackendUnavailableError, match="not tried again yet") as refused:
            await ask(core)
        assert refused.value.retry_after_seconds == 1.0
        assert len(endpoint.requests) == 4
        endpoint.behaviour = says("well")
        clock.now += 1.0
        assert (await ask(core)).text == "well"
        assert core.status().state == "ready"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "1.5"}, 1.5),
        (
            {
                "retry_after": "Tue, 24 Nov 2026 10:00:30 GMT",
                "date": "Tue, 24 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
        ({"retry_after": "99999999999"}, 3600.0),
        ({"retry_after": "soon"}, 1.0),
        ({"retry_after": "-5"}, 1.0),
        ({}, 1.0),
    ],
)
async def test_a_busy_endpoint_is_left_alone_for_as_long_as_it_asks(
    endpoint: Endpoint, headers: dict[str, str], seconds: float
) -> None:
    endpoint.behaviour = fails(429, "slow down", **headers)
    clock = Clock()
    async with core_with_clock(endpoint, clock) as core:
        for _ in range(3):
            with pytest.raises(BackendUnavailableError, match="is busy") as caught:
                await ask(core)
            assert caught.value.retry_after_seconds == seconds
        assert len(endpoint.requests) == 1
        assert core.status().state == "ready"
        endpoint.behaviour = says("well")
        clock.now += seconds
        assert (await ask(core)).text == "well"


@pytest.mark.parametrize(
    ("behaviour", "advice"),
    [
        (fails(401, f"Incorrect API key provided: {CANARY}"), "set a valid api_key"),
        (fails(402, "Insufficient balance"), "top it up"),
        (fails(403, "No access"), "grant it access"),
        (replies({"error": {"code": "insufficient_quota"}}, 429), "top it up"),
    ],
)
async def test_a_dead_credential_fails_fast_and_is_tried_again_later(
    endpoint: Endpoint, behaviour: Behaviour, advice: str
) -> None:
    endpoint.behaviour = behaviour
    clock = Clock()
    async with core_with_clock(endpoint, clock) as core:
        for _ in range(3):
            with pytest.raises(BackendUnavailableError, match=advice):
                await ask(core)
        assert len(endpoint.requests) == 1
        status = core.status()
        assert status.state == "failed"
        assert advice in status.note
        endpoint.behaviour = says("well")
        clock.now += 300.0
        assert (await ask(core)).text == "well"
        assert core.status().note == ""


async def test_moderation_refuses_one_call_and_not_the_credential(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    error = {"message": "flagged", "metadata": {"flagged_input": "..."}}
    endpoint.behaviour = replies({"error": error}, 403)
    with pytest.raises(BackendRefusedError, match="moderation"):
        await ask(core)
    assert core.status().state == "ready"


async def test_an_endpoint_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        settings = settings_for(Endpoint(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", says()))
        async with open_openai_core(settings) as core:
            with pytest.raises(BackendUnavailableError, match="see that base_url is right"):
                await ask(core)


async def test_an_endpoint_that_hangs_up_without_a_word_is_unavailable(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    endpoint.behaviour = Exchange.cut
    with pytest.raises(BackendUnavailableError):
        await ask(core)


async def test_an_endpoint_that_does_not_speak_http_is_unavailable(
    core: OpenAICore, endpoint: Endpoint
) -> None:
    async def garble(exchange: Exchange) -> None:
        await exchange.send(b"\x00\xff not http\r\n\r\n")
        await exchange.cut()

    endpoint.behaviour = garble
    with pytest.raises(BackendUnavailableError):
        await ask(core)


async def test_silence_before_the_first_byte_times_out(endpoint: Endpoint) -> None:
    endpoint.behaviour = hangs(endpoint)
    async with core_with_clock(endpoint, Clock(), idle_deadline_seconds=0.05) as core:
        with pytest.raises(BackendTimeoutError, match=r"silent for 0\.05 s"):
            await ask(core)
    with anyio.fail_after(5):
        await endpoint.left.wait()


async def test_silence_within_an_answer_times_out(endpoint: Endpoint) -> None:
    endpoint.behaviour = streams_then_waits(endpoint, delta("once"))
    async with core_with_clock(endpoint, Clock(), idle_deadline_seconds=0.05) as core:
        with pytest.raises(BackendTimeoutError, match=r"silent for 0\.05 s"):
            await ask(core)
    with anyio.fail_after(5):
        await endpoint.left.wait()


async def test_a_connection_that_is_never_made_times_out(endpoint: Endpoint) -> None:
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting.setblocking(False)
        assert waiting.connect_ex(full.getsockname()) in {0, errno.EINPROGRESS}
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        settings = replace(settings_for(endpoint), base_url=url, connect_deadline_seconds=0.05)
        async with open_openai_core(settings) as core:
            with pytest.raises(BackendTimeoutError, match=r"reached within 0\.05 s"):
                await ask(core)


async def test_an_answer_that_drips_ends_at_the_total_deadline(endpoint: Endpoint) -> None:
    async def drip(exchange: Exchange) -> None:
        await exchange.start()
        while True:
            await exchange.event(delta("drop "))
            await anyio.sleep(0.01)

    endpoint.behaviour = drip
    pieces = Pieces()
    async with core_with_clock(endpoint, Clock(), total_deadline_seconds=0.3) as core:
        for _ in range(5):
            with pytest.raises(BackendTimeoutError, match=r"more than 0\.3 s"):
                await ask(core, prompt(), pieces)
        assert core.status().state == "ready", "a long answer is no failure of the endpoint"
    assert pieces.text.startswith("drop drop")


async def test_a_probe_that_is_cancelled_leaves_the_next_call_to_probe(endpoint: Endpoint) -> None:
    endpoint.behaviour = fails(429, retry_after="5")
    clock = Clock()
    async with core_with_clock(endpoint, clock) as core:
        with pytest.raises(BackendError):
            await ask(core)
        clock.now += 5.0
        endpoint.behaviour = hangs(endpoint)
        endpoint.asked = anyio.Event()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, core)
                await endpoint.asked.wait()
                with pytest.raises(BackendUnavailableError, match="not tried again yet"):
                    await ask(core)
                tasks.cancel_scope.cancel()
        endpoint.behaviour = says("well")
        assert (await ask(core)).text == "well"


async def test_others_are_let_through_as_soon_as_a_probe_gets_text(endpoint: Endpoint) -> None:
    endpoint.behaviour = fails(429, retry_after="5")
    clock = Clock()
    pieces = Pieces()
    async with core_with_clock(endpoint, clock) as core:
        with pytest.raises(BackendError):
            await ask(core)
        clock.now += 5.0
        endpoint.behaviour = streams_then_waits(endpoint, delta("a long answer"))
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, core, prompt(), pieces)
                await pieces.first.wait()
                endpoint.behaviour = says("well")
                assert (await ask(core)).text == "well"
                tasks.cancel_scope.cancel()
