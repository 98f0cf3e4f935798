"""The API key goes to its endpoint and nowhere else."""

import logging
import traceback

import pytest

from backends.errors import BackendError, BackendUnavailableError
from backends.openai_compatible import OpenAICore, open_openai_core
from tests.backends.openai_compatible.asking import CANARY, ask, settings_for
from tests.backends.openai_compatible.endpoint import (
    Behaviour,
    Endpoint,
    delta,
    fails,
    open_endpoint,
    replies,
    says,
    streams,
)


async def test_the_key_is_sent_to_the_endpoint(core: OpenAICore, endpoint: Endpoint) -> None:
    await ask(core)
    assert endpoint.requests[0].headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_takes_the_key_nowhere(
    core: OpenAICore, endpoint: Endpoint, status: int
) -> None:
    async with open_endpoint() as elsewhere:
        for target in (elsewhere, endpoint):
            endpoint.behaviour = replies(b"", status, {"location": f"{target.url}/stolen"})
            with pytest.raises(BackendUnavailableError, match="set base_url to the final address"):
                await ask(core)
        assert elsewhere.connections == 0
        assert len(endpoint.requests) == 2


@pytest.mark.parametrize(
    "behaviour",
    [
        *(
            fails(status, f"key {CANARY} is wrong")
            for status in (400, 401, 403, 404, 422, 429, 500)
        ),
        replies(f"plain {CANARY}".encode(), 400),
        replies({"detail": f"Bearer {CANARY}"}, 422),
        streams({"error": {"code": 400, "message": f"key {CANARY}"}}),
        streams(delta("a"), {"error": {"message": CANARY}}),
        streams(delta(finish=CANARY)),
        streams(f"data: {CANARY}\n\n".encode()),
        replies(b"", 302, {"location": f"http://{CANARY}.invalid/"}),
        replies(CANARY.encode(), 200, {"content-type": "text/html"}),
    ],
)
async def test_the_key_is_in_no_error_and_no_log(
    core: OpenAICore, endpoint: Endpoint, behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint.behaviour = behaviour
    with pytest.raises(BackendError) as caught:
        await ask(core)
    shown = "".join(traceback.format_exception(caught.value))
    assert CANARY not in shown
    assert CANARY not in caplog.text
    assert all(CANARY not in repr(record.__dict__) for record in caplog.records)
    assert CANARY not in core.status().note


async def test_keys_like_it_are_cut_from_a_reason(core: OpenAICore, endpoint: Endpoint) -> None:
    endpoint.behaviour = fails(
        400, "sk-other-999999999 and Bearer abcdefghijk for gpt-4o-mini-2024"
    )
    with pytest.raises(BackendError, match=r": \*\*\* and \*\*\* for gpt-4o-mini-2024$"):
        await ask(core)


async def test_a_reason_is_one_short_printable_line(core: OpenAICore, endpoint: Endpoint) -> None:
    endpoint.behaviour = fails(400, "a\n\x1b[31m\ud800" + "b" * 1000)
    with pytest.raises(BackendError) as caught:
        await ask(core)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 300


async def test_the_settings_do_not_show_the_key(endpoint: Endpoint) -> None:
    settings = settings_for(endpoint)
    assert settings.api_key == CANARY
    assert CANARY not in f"{settings!r} {settings}"


async def test_the_environment_adds_no_credential_and_no_proxy(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "from-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: from-environment\nX-A: from-env")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    settings = settings_for(endpoint)
    async with open_openai_core(settings) as core:
        assert (await ask(core)).text == "hello world"
    [request] = endpoint.requests
    assert request.headers["authorization"] == f"Bearer {CANARY}"
    assert "from-env" not in str(request)


@pytest.mark.parametrize("cookie", ["session=of-another-agent; Path=/", "\xff=;;;"])
async def test_cookies_are_not_kept(core: OpenAICore, endpoint: Endpoint, cookie: str) -> None:
    endpoint.behaviour = replies(b"", 500, {"set-cookie": cookie})
    with pytest.raises(BackendUnavailableError):
        await ask(core)
    endpoint.behaviour = says("well")
    await ask(core)
    assert "cookie" not in endpoint.requests[1].headers


async def test_no_key_sends_none(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    keyless = type(settings_for(endpoint))(name="local", base_url=endpoint.url, model="m")
    endpoint.behaviour = says("hi")
    async with open_openai_core(keyless) as core:
        await ask(core)
    assert "authorization" not in endpoint.requests[0].headers
