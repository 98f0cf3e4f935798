"""What an HTTP server can do to its callers, and what it gets to know of us."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

from backends.errors import OutputTooLargeError, ToolServerUnavailableError
from backends.messages import ToolProgress
from backends.tool_servers import HttpServer, McpToolServer, open_tool_server
from tests.backends.tool_servers.http_double import (
    STREAM,
    Handler,
    HttpDouble,
    HttpRequest,
    answer,
    event,
    response,
    result,
    status,
)
from tests.backends.tool_servers.servers import call, running_over_http, text_of, until
from tests.marks import asyncio_only

pytestmark = asyncio_only

DONE = {"content": [{"type": "text", "text": "done"}]}


@asynccontextmanager
async def connected(double: HttpDouble, **more: Any) -> AsyncGenerator[McpToolServer]:
    with anyio.fail_after(30):
        async with double.running() as url:
            settings = HttpServer(url=f"{url}/mcp", headers={"Authorization": "Bearer k"}, **more)
            async with open_tool_server("remote", settings) as server:
                yield server


def double(**handlers: Handler) -> HttpDouble:
    return HttpDouble(**{"tools/call": result(**DONE), **handlers})


def calling(handler: Handler) -> HttpDouble:
    return double(**{"tools/call": handler})


async def test_a_session_is_kept_and_ended_and_every_request_carries_the_headers() -> None:
    remote = double()
    async with connected(remote) as server:
        assert await text_of(server, "echo") == "done"
    [called] = remote.got("tools/call")
    assert called.headers["mcp-session-id"] == "s1"
    assert called.headers["mcp-protocol-version"] == "2025-11-25"
    assert [request.headers["mcp-session-id"] for request in remote.got("DELETE")] == ["s1"]
    assert {request.headers["authorization"] for request in remote.requests} == {"Bearer k"}
    assert {request.headers["accept-encoding"] for request in remote.requests} == {"identity"}


async def test_the_newer_era_has_no_session_and_repeats_method_name_and_parameters() -> None:
    schema = {"type": "object", "properties": {"r": {"type": "string", "x-mcp-header": "Region"}}}
    remote = double(
        **{
            "server/discover": result(supportedVersions=["2026-07-28"], capabilities={}),
            "tools/list": result(tools=[{"name": "echo", "inputSchema": schema}]),
        }
    )
    async with connected(remote) as server:
        await call(server, "echo", r="\u00e9")
    [called] = remote.got("tools/call")
    assert called.headers["mcp-method"] == "tools/call"
    assert called.headers["mcp-name"] == "echo"
    assert called.headers["mcp-param-region"] == "=?base64?w6k=?="
    assert called.headers["mcp-protocol-version"] == "2026-07-28"
    meta = called.body["params"]["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {}
    assert not remote.got("initialize")
    assert not remote.got("DELETE")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("401 Unauthorized", r"refuses our credentials \(HTTP 401\)"),
        ("403 Forbidden", r"refuses our credentials \(HTTP 403\)"),
        ("307 Temporary Redirect", r"has moved \(HTTP 307\)"),
        ("503 Service Unavailable", r"is busy \(HTTP 503\)"),
    ],
)
async def test_a_server_that_lets_nobody_in_is_reported_without_secrets(
    line: str, reason: str
) -> None:
    other = HttpDouble()
    async with other.running() as elsewhere:
        refusal = status(line, f"Location: {elsewhere}/mcp", "X-Key: Bearer k")
        async with connected(HttpDouble(**{"server/discover": refusal})) as server:
            with pytest.raises(ToolServerUnavailableError, match=reason) as failure:
                await call(server, "echo")
            assert "Bearer" not in str(failure.value) + server.status().last_failure
            assert "127.0.0.1" not in str(failure.value) + server.status().last_failure
    assert other.requests == []


async def test_a_busy_server_is_left_alone_as_long_as_it_asks() -> None:
    busy = status("429 Too Many Requests", "Retry-After: 77")
    async with connected(calling(busy)) as server:
        with pytest.raises(ToolServerUnavailableError) as failure:
            await call(server, "echo")
        assert failure.value.retry_after_seconds == pytest.approx(77, abs=2)
        assert server.status().state == "waiting"


async def test_nobody_listening_is_reported() -> None:
    async with HttpDouble().running() as url:
        pass
    async with open_tool_server("remote", HttpServer(url=url)) as server:
        with pytest.raises(ToolServerUnavailableError, match="cannot be reached"):
            await server.list_tools()


@pytest.mark.parametrize("line", ["404 Not Found", "400 Bad Request"])
async def test_a_forgotten_session_is_renewed_and_the_call_sent_again(line: str) -> None:
    remote = double()

    async def forget(request: HttpRequest, stream: ByteStream) -> None:
        remote.handlers["tools/call"] = result(**DONE)
        await status(line)(request, stream)

    remote.handlers["tools/call"] = forget
    async with connected(remote) as server:
        assert await text_of(server, "echo") == "done"
    assert len(remote.got("initialize")) == 2
    assert len(remote.got("tools/call")) == 2


async def test_an_error_in_a_refused_request_is_a_result_for_the_model() -> None:
    async def refuse(request: HttpRequest, stream: ByteStream) -> None:
        body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"no such path"}}'
        await stream.send(response("400 Bad Request", "application/json", body))

    async with connected(calling(refuse)) as server:
        refused = await call(server, "echo")
    assert (refused.is_error, refused.content[0]["text"]) == (True, "no such path")


async def test_progress_comes_while_the_stream_is_open() -> None:
    seen: list[ToolProgress] = []
    got_it = anyio.Event()

    async def keep(progress: ToolProgress) -> None:
        seen.append(progress)
        got_it.set()

    async def stream_it(request: HttpRequest, stream: ByteStream) -> None:
        token = request.body["params"]["_meta"]["progressToken"]
        params = {"progressToken": token, "progress": 1, "total": 2, "message": "half"}
        await stream.send(STREAM + b": hello\r\n\r\n")
        await stream.send(
            event({"jsonrpc": "2.0", "method": "notifications/progress"} | {"params": params})
        )
        await got_it.wait()
        await stream.send(event({"jsonrpc": "2.0", "id": request.body["id"], "result": DONE}))
        await stream.aclose()

    async with connected(calling(stream_it)) as server:
        answered = await server.call("echo", {}, keep)
    assert answered.content[0]["text"] == "done"
    assert seen == [ToolProgress(1.0, 2.0, "half")]


async def test_a_stream_that_is_cut_is_resumed_after_its_last_event() -> None:
    ids: list[int] = []

    async def cut(request: HttpRequest, stream: ByteStream) -> None:
        ids.append(request.body["id"])
        await stream.send(STREAM + b"retry: 10\n" + event(None, "e7"))
        await stream.aclose()

    async def resume(request: HttpRequest, stream: ByteStream) -> None:
        if "last-event-id" not in request.headers:
            await status("405 Method Not Allowed")(request, stream)
            return
        await stream.send(STREAM + event({"jsonrpc": "2.0", "id": ids[0], "result": DONE}))
        await stream.aclose()

    remote = double(**{"tools/call": cut, "GET": resume})
    async with connected(remote) as server:
        assert await text_of(server, "echo") == "done"
    assert [request.headers.get("last-event-id") for request in remote.got("GET")] == [None, "e7"]
    assert len(remote.got("tools/call")) == 1


@pytest.mark.parametrize(
    "broken",
    [
        STREAM,
        STREAM + b'data: {"jsonrpc":"2.0","id":1,"resu',
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<hi>",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        b"garbage\r\n\r\n",
        b"",
    ],
    ids=["empty", "cut event", "cut body", "no message", "html", "accepted", "no http", "closed"],
)
async def test_an_answer_that_never_comes_is_an_error_and_the_next_call_works(
    broken: bytes,
) -> None:
    remote = double()

    async def fail(_: HttpRequest, stream: ByteStream) -> None:
        remote.handlers["tools/call"] = result(**DONE)
        if broken:
            await stream.send(broken)
        await stream.aclose()

    remote.handlers["tools/call"] = fail
    async with connected(remote) as server:
        with pytest.raises(ToolServerUnavailableError):
            await call(server, "echo")
        assert await text_of(server, "echo") == "done"


async def test_a_call_that_fails_does_not_end_the_others() -> None:
    began, cut = anyio.Event(), anyio.Event()

    async def first(request: HttpRequest, stream: ByteStream) -> None:
        remote.handlers["tools/call"] = second
        began.set()
        await cut.wait()
        # A whole new connection was made meanwhile; this one must still be open.
        await stream.send(answer(request, DONE))

    async def second(_: HttpRequest, stream: ByteStream) -> None:
        remote.handlers["tools/call"] = result(**DONE)
        await stream.aclose()

    remote = calling(first)
    answers: list[str] = []

    async def ask(server: McpToolServer) -> None:
        answers.append(await text_of(server, "echo"))

    async with connected(remote) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, server)
        await began.wait()
        with pytest.raises(ToolServerUnavailableError):
            await call(server, "echo")
        await ask(server)
        cut.set()
    assert answers == ["done", "done"]
    assert len(remote.got("initialize")) == len(remote.got("DELETE")) == 2


@pytest.mark.parametrize("as_stream", [False, True])
async def test_a_body_above_the_cap_is_refused(as_stream: bool) -> None:
    async def flood(request: HttpRequest, stream: ByteStream) -> None:
        huge = {"jsonrpc": "2.0", "id": request.body["id"], "result": {"x": "x" * 5_000_000}}
        if as_stream:
            await stream.send(STREAM + event(huge))
            await stream.aclose()
        else:
            await stream.send(answer(request, huge["result"]))

    async with connected(calling(flood), max_result_bytes=100_000) as server:
        with pytest.raises(OutputTooLargeError) as refusal:
            await call(server, "echo")
    assert 5_000_000 < refusal.value.size_bytes < 5_001_000


async def test_a_compressed_answer_is_refused() -> None:
    async def bomb(_: HttpRequest, stream: ByteStream) -> None:
        await stream.send(response("200 OK", "application/json", b"x", "Content-Encoding: gzip"))

    async with connected(calling(bomb)) as server:
        with pytest.raises(ToolServerUnavailableError, match="compresses"):
            await call(server, "echo")


async def test_changes_announced_between_requests_are_heard() -> None:
    changed = anyio.Event()

    async def listen(request: HttpRequest, stream: ByteStream) -> None:
        await changed.wait()
        note = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        await stream.send(STREAM + event(note))
        await anyio.sleep_forever()

    remote = double(GET=listen)
    async with connected(remote) as server:
        await server.list_tools()
        await server.list_tools()
        assert len(remote.got("tools/list")) == 1
        changed.set()
        with anyio.fail_after(10):
            while len(remote.got("tools/list")) == 1:
                await server.list_tools()
                await anyio.sleep(0.01)


async def test_a_cancelled_call_closes_its_request_and_says_so_in_the_older_era() -> None:
    began = anyio.Event()

    async def hang(_: HttpRequest, stream: ByteStream) -> None:
        began.set()
        await anyio.sleep_forever()

    remote = calling(hang)
    async with connected(remote) as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, server, "echo")
            await began.wait()
            tasks.cancel_scope.cancel()
        [called], [cancelled] = remote.got("tools/call"), remote.got("notifications/cancelled")
    assert cancelled.body["params"] == {"requestId": called.body["id"]}


async def test_an_sse_server_must_not_send_us_elsewhere() -> None:
    async def elsewhere(_: HttpRequest, stream: ByteStream) -> None:
        await stream.send(STREAM + b"event: endpoint\ndata: http://127.0.0.1:1/steal\n\n")

    async with connected(HttpDouble(GET=elsewhere), transport="sse") as server:
        with pytest.raises(ToolServerUnavailableError, match="another host"):
            await server.list_tools()


async def test_an_address_that_is_no_sse_server_is_reported() -> None:
    async with connected(HttpDouble(GET=tools_page), transport="sse") as server:
        with pytest.raises(ToolServerUnavailableError, match="no SSE stream"):
            await server.list_tools()


async def tools_page(_: HttpRequest, stream: ByteStream) -> None:
    await stream.send(response("200 OK", "text/html", b"<html>"))


@pytest.mark.parametrize("path", ["mcp", "sse"])
async def test_a_server_that_was_killed_and_started_again_works_again(path: str) -> None:
    transport: Any = "sse" if path == "sse" else "http"
    with anyio.fail_after(60), running_over_http() as (process, url):
        settings = HttpServer(url=f"{url}/{path}", transport=transport)
        async with open_tool_server("remote", settings) as server:
            first = await text_of(server, "pid")
            process.kill()
            process.wait()
            with pytest.raises(ToolServerUnavailableError):
                await call(server, "pid")
            with running_over_http(int(url.rpartition(":")[2])):
                await anyio.sleep(server_wait(server))
                assert await text_of(server, "pid") != first


def server_wait(server: McpToolServer) -> float:
    """How long the server waits before it tries again, at most."""
    return 0.0 if server.status().state == "idle" else 1.0


@pytest.mark.parametrize("path", ["mcp", "sse"])
async def test_a_real_tool_stops_when_its_call_is_cancelled(
    path: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mark = anyio.Path(tmp_path_factory.mktemp("marks")) / "cancelled"
    transport: Any = "sse" if path == "sse" else "http"
    started = anyio.Event()

    async def note(_: ToolProgress) -> None:
        started.set()

    with anyio.fail_after(60), running_over_http() as (_, url):
        settings = HttpServer(url=f"{url}/{path}", transport=transport)
        async with open_tool_server("remote", settings) as server:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.call, "wait", {"seconds": 600, "mark": str(mark)}, note)
                await started.wait()
                tasks.cancel_scope.cancel()
            await until(mark)
