"""A scripted OpenAI-compatible endpoint on loopback that misbehaves on demand.

It writes HTTP by hand, so that a test can cut, stall or garble a response at any byte, and it
notes when its client goes away.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, object]
    connection: int


Behaviour: TypeAlias = Callable[["Exchange"], Awaitable[None]]


@dataclass(slots=True)
class Endpoint:
    """What tests set and see."""

    url: str
    behaviour: Behaviour
    requests: list[Received] = field(default_factory=list[Received])
    asked: anyio.Event = field(default_factory=anyio.Event)
    left: anyio.Event = field(default_factory=anyio.Event)
    connections: int = 0


class Exchange:
    """One request being answered."""

    def __init__(
        self, request: Received, stream: SocketStream, reader: BufferedByteReceiveStream
    ) -> None:
        self.request = request
        self._stream = stream
        self._reader = reader
        self.is_chunked = False

    async def start(
        self, status: int = 200, headers: Mapping[str, str] = SSE, *, length: int | None = None
    ) -> None:
        self.is_chunked = length is None
        size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"HTTP/1.1 {status} Told", size, *lines, "", ""])
        await self._stream.send(head.encode("latin-1"))

    async def send(self, data: bytes) -> None:
        if self.is_chunked:
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n"
        await self._stream.send(data)

    async def event(self, chunk: object) -> None:
        await self.send(f"data: {json.dumps(chunk)}\n\n".encode())

    async def end(self) -> None:
        if self.is_chunked:
            await self._stream.send(b"0\r\n\r\n")

    async def document(
        self, body: bytes | object, status: int = 200, headers: Mapping[str, str] = JSON
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.start(status, headers, length=len(content))
        await self.send(content)

    async def cut(self) -> None:
        await self._stream.aclose()

    async def client_left(self) -> None:
        """Wait until the client closes the connection."""
        try:
            await self._reader.receive(1)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return
        raise AssertionError("the client sent more")


@asynccontextmanager
async def open_endpoint(behaviour: Behaviour | None = None) -> AsyncGenerator[Endpoint]:
    """Serve for the length of the block."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(SocketAttribute.local_port)
    endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", behaviour or says("hello", " world"))

    async def serve(stream: SocketStream) -> None:
        endpoint.connections += 1
        connection = endpoint.connections
        async with stream:
            reader = BufferedByteReceiveStream(stream)
            try:
                while True:
                    request = await _receive(reader, connection)
                    endpoint.requests.append(request)
                    endpoint.asked.set()
                    await endpoint.behaviour(Exchange(request, stream, reader))
            except (anyio.IncompleteRead, anyio.EndOfStream, anyio.ClosedResourceError):
                return
            except anyio.BrokenResourceError:
                endpoint.left.set()

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield endpoint
        tasks.cancel_scope.cancel()


async def _receive(reader: BufferedByteReceiveStream, connection: int) -> Received:
    head = (await reader.receive_until(b"\r\n\r\n", 64 * 1024)).decode()
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.receive_exactly(int(headers["content-length"]))
    path = first.split(" ")[1]
    return Received(path=path, headers=headers, body=json.loads(body), connection=connection)


# --- Chunks ------------------------------------------------------------------------------------


def delta(text: object = None, *, finish: str | None = None, **fields: object) -> dict[str, object]:
    content = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": {**content, **fields}, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def usage(prompt: object, completion: object, cached: int = 0) -> dict[str, object]:
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    return {"object": "chat.completion.chunk", "choices": [], "usage": counts}


# --- Behaviours --------------------------------------------------------------------------------


def says(*texts: str, finish: str = "stop", reported: object = None) -> Behaviour:
    """Answer well."""
    last = usage(7, len(texts), 3) if reported is None else reported
    return streams(
        delta(role="assistant"), *map(delta, texts), delta(finish=finish), last, "[DONE]"
    )


def streams(*items: object) -> Behaviour:
    """Stream these events, each a chunk, or bytes sent as they are; then end the response."""

    async def behave(exchange: Exchange) -> None:
        await exchange.start()
        for item in items:
            if isinstance(item, bytes):
                await exchange.send(item)
            elif item == "[DONE]":
                await exchange.send(b"data: [DONE]\n\n")
            else:
                await exchange.event(item)
        await exchange.end()

    return behave


def streams_then_cuts(*chunks: object) -> Behaviour:
    """Stream these chunks, then close the connection in the middle of the response."""

    async def behave(exchange: Exchange) -> None:
        await exchange.start()
        for chunk in chunks:
            await exchange.event(chunk)
        await exchange.cut()

    return behave


def streams_then_waits(endpoint: Endpoint, *chunks: object) -> Behaviour:
    """Stream these chunks, then say nothing more until the client leaves."""

    async def behave(exchange: Exchange) -> None:
        await exchange.start()
        for chunk in chunks:
            await exchange.event(chunk)
        await exchange.client_left()
        endpoint.left.set()

    return behave


def hangs(endpoint: Endpoint) -> Behaviour:
    """Say nothing at all until the client leaves."""

    async def behave(exchange: Exchange) -> None:
        await exchange.client_left()
        endpoint.left.set()

    return behave


def replies(
    body: bytes | object, status: int = 200, headers: Mapping[str, str] = JSON
) -> Behaviour:
    """Answer with one document instead of a stream."""

    async def behave(exchange: Exchange) -> None:
        await exchange.document(body, status, headers)

    return behave


def fails(status: int, message: str = "", **headers: str) -> Behaviour:
    """Answer with an error."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return replies({"error": {"message": message}}, status, {**JSON, **named})


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave differently at each request; the last behaviour stays."""
    left = list(behaviours)

    async def behave(exchange: Exchange) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(exchange)

    return behave
