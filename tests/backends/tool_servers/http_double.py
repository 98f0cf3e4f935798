"""An HTTP server inside the test, whose every byte the test decides."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    path: str
    headers: dict[str, str]
    body: Any

    @property
    def rpc(self) -> str:
        """The JSON-RPC method, or the HTTP method of a request without a body."""
        return str(self.body.get("method", "answer")) if self.body else self.method


Handler = Callable[[HttpRequest, ByteStream], Awaitable[None]]


class HttpDouble:
    """Keeps the requests it got; `handlers` answer them by what `HttpRequest.rpc` says."""

    def __init__(self, **handlers: Handler) -> None:
        self.requests: list[HttpRequest] = []
        self.handlers: dict[str, Handler] = {
            "initialize": initialize,
            "tools/list": tools,
            "notifications/initialized": accept,
            "notifications/cancelled": accept,
            "DELETE": accept,
            **handlers,
        }

    def got(self, rpc: str) -> list[HttpRequest]:
        return [request for request in self.requests if request.rpc == rpc]

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[str]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._serve)
            yield f"http://127.0.0.1:{port}"
            tasks.cancel_scope.cancel()

    async def _serve(self, stream: ByteStream) -> None:
        async with stream:
            reader = BufferedByteReceiveStream(stream)
            try:
                while True:
                    request = await _read(reader)
                    self.requests.append(request)
                    await self.handlers.get(request.rpc, not_found)(request, stream)
            except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return


async def _read(reader: BufferedByteReceiveStream) -> HttpRequest:
    head = (await reader.receive_until(b"\r\n\r\n", 65536)).decode().split("\r\n")
    method, path, _ = head[0].split()
    fields = [line.split(": ", 1) for line in head[1:]]
    headers = {name.lower(): value for name, value in fields}
    body = await reader.receive_exactly(int(headers.get("content-length", "0")))
    return HttpRequest(method, path, headers, json.loads(body) if body else {})


def response(status: str, kind: str, body: bytes, *more: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*head, "", ""]).encode() + body


def status(line: str, *more: str) -> Handler:
    async def handler(_: HttpRequest, stream: ByteStream) -> None:
        await stream.send(response(line, "text/plain", b"", *more))

    return handler


def result(**content: Any) -> Handler:
    async def handler(request: HttpRequest, stream: ByteStream) -> None:
        await stream.send(answer(request, content))

    return handler


def answer(request: HttpRequest, content: Any, *more: str) -> bytes:
    body = {"jsonrpc": "2.0", "id": request.body["id"], "result": content}
    return response("200 OK", "application/json", json.dumps(body).encode(), *more)


def event(payload: Any, id_: str = "") -> bytes:
    return (f"id: {id_}\r\n" if id_ else "").encode() + (
        b"data: " + (json.dumps(payload).encode() if payload else b"") + b"\r\n\r\n"
    )


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

accept = status("202 Accepted")
not_found = status("404 Not Found")
tools = result(tools=[{"name": "echo", "inputSchema": {"type": "object"}}])


async def initialize(request: HttpRequest, stream: ByteStream) -> None:
    content: dict[str, Any] = {"protocolVersion": "2025-11-25", "capabilities": {}}
    await stream.send(answer(request, content, "Mcp-Session-Id: s1"))
