"""Who and what is let in: Host, Origin, CORS and credentials, on every route."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from anyio import create_task_group
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from aios_mcp.config.model import HttpPart
from aios_mcp.kernel import Agents
from aios_mcp.server.http import AddressError, OpenToAllError, serve_http
from tests.marks import asyncio_only
from tests.server_http.servers import (
    Probe,
    agents,
    asking,
    connect,
    modern,
    modern_headers,
    open_session,
    read_all,
    serving,
    token,
)

ROUTES = ("/mcp", "/sse", "/messages/", "/healthz", "/readyz", "/nothing")
"""Of each kind; the checks stand before all of them."""


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1:evil.example",
        "localhost:1@evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "[::1]evil",
        "localhost:80:80",
        "local host",
        "",
    ],
)
async def test_a_foreign_host_is_refused_on_every_route(path: str, host: str) -> None:
    async with asking() as client:
        answer = await client.get(path, headers={"Host": host})
        assert answer.status_code == 421
        assert answer.json()["error"]["code"] == -32600


@asyncio_only
async def test_a_request_with_two_hosts_or_none_is_refused() -> None:
    async with serving() as url:
        for head in (b"Host: localhost\r\nHost: localhost\r\n", b"X: y\r\n"):
            async with await connect(url) as stream:
                await stream.send(b"GET /healthz HTTP/1.1\r\n%bConnection: close\r\n\r\n" % head)
                assert b" 421 " in (await read_all(stream)).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("kernel.example", 200),
        ("KERNEL.example:9", 200),
        ("only.example:8443", 200),
        ("only.example:8444", 421),
        ("only.example", 421),
        ("[::1]:80", 200),
        ("localhost", 200),
    ],
)
async def test_configured_hosts_are_let_in(host: str, status: int) -> None:
    http = HttpPart(allowed_hosts=("kernel.example", "only.example:8443"))
    async with asking(http=http) as client:
        assert (await client.get("/healthz", headers={"Host": host})).status_code == status


@pytest.mark.parametrize(
    ("host", "status"),
    [("10.1.2.3:8765", 200), ("10.1.2.4:8765", 421), ("10.1.2.3", 421), ("10.1.2.3:80", 421)],
)
async def test_the_address_a_connection_arrived_at_is_let_in(host: str, status: int) -> None:
    async with asking(base_url="http://10.1.2.3:8765") as client:
        assert (await client.get("/healthz", headers={"Host": host})).status_code == status


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:1@evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1:1.evil.example",
        "http://localhost:80/path",
        "https://app.example:444",
        "http://app.example",
        "file://localhost",
        "null",
        "",
    ],
)
async def test_a_foreign_origin_is_refused_on_every_route(path: str, origin: str) -> None:
    http = HttpPart(allowed_origins=("https://app.example",))
    async with asking(http=http) as client:
        answer = await client.get(path, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:6274", "http://127.0.0.1", "http://[::1]:1", "https://app.example:443"],
)
async def test_an_allowed_origin_is_served_and_its_preflight_answered(origin: str) -> None:
    http = HttpPart(allowed_origins=("https://app.example",))
    known = agents(ada="secret")
    asked = "authorization,content-type,mcp-protocol-version,mcp-method,mcp-param-region"
    async with asking(http=http, known=known) as client:
        preflight = await client.options(
            "/mcp",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": asked,
            },
        )
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        assert preflight.headers["access-control-allow-headers"] == asked
        refused = await client.post("/mcp", headers={"Origin": origin})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == origin
        assert "WWW-Authenticate" in refused.headers["access-control-expose-headers"]


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages/", "/nothing"])
@pytest.mark.parametrize(
    ("value", "challenge"),
    [
        (None, 'Bearer realm="aios-mcp"'),
        ("Basic YTpi", 'Bearer realm="aios-mcp"'),
        ("Bearer", 'Bearer realm="aios-mcp"'),
        ("Bearer wrong", 'error="invalid_token"'),
        (f"Bearer {token('ada', seconds=-1)}", 'error="invalid_token"'),
        (f"Bearer {token('ada')}x", 'error="invalid_token"'),
    ],
)
async def test_a_request_without_a_valid_token_is_challenged(
    path: str, value: str | None, challenge: str
) -> None:
    headers = {} if value is None else {"Authorization": value}
    async with asking(known=agents(ada="secret")) as client:
        answer = await client.request("GET", path, headers=headers)
        assert answer.status_code == 401
        assert challenge in answer.headers["www-authenticate"]
        assert ("error" in challenge) == ("error" in answer.headers["www-authenticate"])


async def test_health_needs_no_credential_and_names_nothing() -> None:
    async with asking(known=agents(ada="secret")) as client:
        alive, ready = await client.get("/healthz"), await client.get("/readyz")
        assert (alive.json(), ready.json()) == ({"status": "ok"}, {"status": "ready"})


async def test_readiness_fails_while_the_kernel_cannot_work() -> None:
    async with asking(is_ready=False) as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


@asyncio_only
@pytest.mark.parametrize(
    ("known", "credential", "name"),
    [
        (agents(), None, "ada"),
        (agents(), token("bob"), "bob"),
        (agents(ada="a-secret", bob="b-secret"), "b-secret", "bob"),
        (agents(bob="b-secret"), token("ada"), "ada"),
    ],
)
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_token_names_the_agent(
    known: Agents, credential: str | None, name: str, mode: str
) -> None:
    headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
    async with (
        serving(known=known) as url,
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        result = await client.call_tool("whoami")
        assert result.structured_content == {"result": name}


async def test_a_bad_token_is_refused_even_where_none_is_needed() -> None:
    async with asking() as client:
        answer = await client.post("/mcp", headers={"Authorization": "Bearer stale"})
        assert answer.status_code == 401


@asyncio_only
@pytest.mark.parametrize("other", ["b-secret", token("ada")])
async def test_a_session_is_not_there_for_another_token(other: str) -> None:
    known = agents(ada="a-secret", bob="b-secret")
    async with serving(known=known) as url, httpx2.AsyncClient(base_url=url) as client:
        session = await open_session(client, Authorization="Bearer a-secret")
        ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        stolen = {**session, "Authorization": f"Bearer {other}"}
        assert (await client.post("/mcp", json=ask, headers=stolen)).status_code == 404
        assert (await client.get("/mcp", headers=stolen)).status_code == 404
        assert (await client.delete("/mcp", headers=stolen)).status_code == 404
        assert (await client.post("/mcp", json=ask, headers=session)).status_code == 200


@asyncio_only
async def test_an_sse_stream_takes_messages_of_its_own_token_only() -> None:
    known = agents(ada="a-secret", bob="b-secret")
    own = {"Authorization": "Bearer a-secret"}
    async with (
        serving(known=known) as url,
        httpx2.AsyncClient(base_url=url) as client,
        client.stream("GET", "/sse", headers=own) as stream,
    ):
        lines = stream.aiter_lines()
        endpoint = ""
        async for line in lines:
            if line.startswith("data: "):
                endpoint = line.removeprefix("data: ")
                break
        message = modern("tools/list")
        for credential, status in (("b-secret", 404), ("a-secret", 202)):
            headers = {"Authorization": f"Bearer {credential}"}
            answer = await client.post(endpoint, json=message, headers=headers)
            assert answer.status_code == status


@asyncio_only
async def test_the_state_of_an_open_question_is_of_use_to_its_own_token_only() -> None:
    known = agents(ada="a-secret", bob="b-secret")
    async with serving(known=known) as url, httpx2.AsyncClient(base_url=url) as client:

        async def ask(secret: str, **more: str) -> dict[str, Any]:
            headers = modern_headers("tools/call", "ask") | {"Authorization": f"Bearer {secret}"}
            body = modern("tools/call", {"name": "ask", "arguments": {}, **more})
            answer: dict[str, Any] = (await client.post("/mcp", json=body, headers=headers)).json()
            return answer

        state: str = (await ask("a-secret"))["result"]["requestState"]
        assert (await ask("b-secret", requestState=state))["error"]["code"] == -32602
        answered = await ask("a-secret", requestState=state)
        assert answered["result"]["content"][0]["text"] == "asked"


@asyncio_only
async def test_another_host_than_loopback_needs_a_credential() -> None:
    with pytest.raises(OpenToAllError, match=r"agents\.NAME\.token"):
        await _start("0.0.0.0", 0, HttpPart())


@asyncio_only
async def test_a_port_in_use_is_named_with_the_fix() -> None:
    async with serving() as url:
        port = httpx2.URL(url).port
        assert port is not None
        with pytest.raises(AddressError, match=rf"127\.0\.0\.1:{port}.*in use.*--http"):
            await _start("127.0.0.1", port, HttpPart())


@asyncio_only
async def test_an_open_door_can_be_asked_for() -> None:
    async with create_task_group() as tasks:

        def on_listening(url: str) -> None:
            assert url.startswith("http://0.0.0.0:")
            tasks.cancel_scope.cancel()

        await _start("0.0.0.0", 0, HttpPart(allow_unauthenticated=True), on_listening)
    assert tasks.cancel_scope.cancelled_caught


async def _start(
    host: str, port: int, http: HttpPart, on_listening: Callable[[str], None] = lambda _: None
) -> None:
    await serve_http(
        Probe().server,
        agents(),
        host=host,
        port=port,
        http=http,
        default_agent="ada",
        is_ready=lambda: True,
        on_listening=on_listening,
    )


@asyncio_only
async def test_bad_json_is_answered_as_json_rpc_says() -> None:
    async with serving() as url, httpx2.AsyncClient(base_url=url) as client:
        for headers in (modern_headers("tools/list"), await open_session(client)):
            answer = await client.post(
                "/mcp", content=b"{", headers={**headers, "Content-Type": "application/json"}
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32700)
