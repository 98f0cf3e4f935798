"""What one client can take up: bytes, time and connections. On both HTTP parsers."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import httpx2
import pytest
import uvicorn
from anyio.abc import SocketStream
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from aios_mcp.config.model import HttpPart
from aios_mcp.server.http.connections import HEAD_BYTES, Bounds, Parser, bounded_protocol
from tests.marks import asyncio_only
from tests.server_http.servers import (
    ACCEPT,
    LEGACY,
    connect,
    initialize,
    modern,
    modern_headers,
    open_session,
    read_all,
    serving,
)

pytestmark = [asyncio_only, pytest.mark.parametrize("parser", ["httptools", "h11"])]

HELLO = PlainTextResponse("hello")
HEAD = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def bare(parser: Parser, bounds: Bounds, app: ASGIApp = HELLO) -> AsyncGenerator[str]:
    """Serve an app under the bounds; give the URL."""
    config = uvicorn.Config(
        app,
        port=0,
        http=bounded_protocol(parser, bounds),
        lifespan="off",
        log_config=None,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.shutdown()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def drip(stream: SocketStream, piece: bytes) -> bytes:
    """Send a piece again and again until the server answers."""
    with anyio.fail_after(10):
        while True:
            await stream.send(piece)
            with anyio.move_on_after(0.02):
                return await stream.receive()


@pytest.mark.parametrize("start", [b"", b"\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nX"])
async def test_a_silent_connection_is_closed(parser: Parser, start: bytes) -> None:
    async with (
        bare(parser, Bounds(max_connections=9, head_seconds=0.1)) as url,
        await connect(url) as stream,
    ):
        if start:
            await stream.send(start)
        assert status(await read_all(stream)) in {400, 408}


@pytest.mark.parametrize("requests", [0, 1])
async def test_bytes_that_drip_in_do_not_stop_the_clock(parser: Parser, requests: int) -> None:
    async with (
        bare(parser, Bounds(max_connections=9, head_seconds=0.2)) as url,
        await connect(url) as stream,
    ):
        for _ in range(requests):
            await stream.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status(await stream.receive()) == 200
        await stream.send(b"GET / HTTP/1.1\r\nX: ")
        assert status(await drip(stream, b"y")) == 408


async def test_a_slow_answer_is_not_held_against_the_client(parser: Parser) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(0.3)
        await HELLO(scope, receive, send)

    bounds = Bounds(max_connections=9, head_seconds=0.1)
    async with bare(parser, bounds, app) as url, await connect(url) as stream:
        await stream.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert status(await read_all(stream)) == 200


async def test_a_head_of_any_size_is_not_read(parser: Parser) -> None:
    async with bare(parser, Bounds(max_connections=9)) as url, await connect(url) as stream:
        await stream.send(b"GET / HTTP/1.1\r\nX: ")
        answer = await drip(stream, b"y" * (HEAD_BYTES // 4))
        assert status(answer) in {400, 431}


async def test_a_connection_over_the_cap_is_refused_and_a_freed_one_is_usable(
    parser: Parser,
) -> None:
    async with bare(parser, Bounds(max_connections=1)) as url:
        async with await connect(url) as first:
            await first.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status(await first.receive()) == 200
            async with await connect(url) as second:
                assert status(await read_all(second)) == 503
        with anyio.fail_after(10):
            while await _status_of_a_new_connection(url) != 200:
                await anyio.lowlevel.checkpoint()


async def _status_of_a_new_connection(url: str) -> int:
    async with httpx2.AsyncClient() as client:
        return (await client.get(url)).status_code


async def test_whitespace_around_a_header_value_is_not_part_of_it(parser: Parser) -> None:
    async with serving(parser=parser) as url, await connect(url) as stream:
        await stream.send(
            b"GET /healthz HTTP/1.1\r\nHost:  localhost \t\r\nConnection: close\r\n\r\n"
        )
        assert status(await read_all(stream)) == 200


async def test_a_trailer_is_not_a_header(parser: Parser) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        assert await request.body() == b"{}"
        await PlainTextResponse(", ".join(request.headers))(scope, receive, send)

    async with bare(parser, Bounds(max_connections=9), app) as url, await connect(url) as stream:
        await stream.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        await stream.send(b"2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\n\r\n")
        assert (await stream.receive()).endswith(b"host, transfer-encoding")


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_too_large_is_refused(parser: Parser, declared: bool) -> None:
    http = HttpPart(max_body_bytes=1024)
    piece = b"[" + b" " * 1022
    async with serving(http=http, parser=parser) as url, await connect(url) as stream:
        if declared:
            await stream.send(HEAD + b"Content-Length: 1025\r\n\r\n")
        else:
            chunk = b"%x\r\n%b\r\n" % (len(piece), piece)
            await stream.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + chunk)
        assert status(await stream.receive()) == 413


async def test_a_body_of_the_largest_size_is_read(parser: Parser) -> None:
    body = modern("server/discover")
    http = HttpPart(max_body_bytes=1024)
    async with serving(http=http, parser=parser) as url, httpx2.AsyncClient(base_url=url) as client:
        request = client.build_request(
            "POST", "/mcp", json=body, headers=modern_headers("server/discover")
        )
        padded = request.content + b" " * (1024 - len(request.content))
        headers = {**modern_headers("server/discover"), "Content-Type": "application/json"}
        answer = await client.post("/mcp", content=padded, headers=headers)
        assert answer.status_code == 200


@pytest.mark.parametrize("target", [b"POST /mcp", b"POST /messages/", b"GET /mcp", b"PUT /mcp"])
async def test_a_body_that_drips_in_is_given_up(parser: Parser, target: bytes) -> None:
    http = HttpPart(body_seconds=0.2)
    async with serving(http=http, parser=parser) as url, await connect(url) as stream:
        await stream.send(HEAD.replace(b"POST /mcp", target) + b"Content-Length: 1000\r\n\r\n")
        assert status(await drip(stream, b" ")) == 408


async def test_a_refused_body_does_not_hold_its_connection(parser: Parser) -> None:
    # The client never ends what it was told is too large.
    async with (
        bare(parser, Bounds(max_connections=9, head_seconds=0.2)) as url,
        await connect(url) as stream,
    ):
        await stream.send(HEAD + b"Content-Length: 1000000\r\n\r\n ")
        assert status(await stream.receive()) == 200
        assert status(await drip(stream, b" ")) == 408


async def test_no_more_sessions_are_opened_than_connections(parser: Parser) -> None:
    http = HttpPart(max_connections=2)
    async with serving(http=http, parser=parser) as url, httpx2.AsyncClient(base_url=url) as client:
        await open_session(client)
        await open_session(client)
        headers = {"Accept": ACCEPT, "MCP-Protocol-Version": LEGACY}
        refused = await client.post("/mcp", json=initialize(), headers=headers)
        assert refused.status_code == 503
