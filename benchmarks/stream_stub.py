"""An OpenAI-compatible endpoint that streams made-up tokens as fast as it is read; a program.

It prints its port, serves until its input ends, and answers a GET of `/v1/left/N`, once N clients
have left in the middle of an answer, with the moment the last did (on the monotonic clock, which
processes share).
"""

import json
import time
from dataclasses import dataclass, field
from functools import partial

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(slots=True)
class Departures:
    """When clients left in the middle of an answer."""

    moments: list[float] = field(default_factory=list[float])
    noted: anyio.Condition = field(default_factory=anyio.Condition)

    async def note(self) -> None:
        """Note that one has just left."""
        async with self.noted:
            self.moments.append(time.monotonic())
            self.noted.notify_all()

    async def last_of(self, count: int) -> float:
        """Give the moment the last of so many left."""
        async with self.noted:
            while len(self.moments) < count:
                await self.noted.wait()
        return self.moments[count - 1]


async def serve() -> None:
    """Serve until the input ends."""
    left = Departures()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    print(listener.extra(SocketAttribute.local_port), flush=True)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, partial(_serve_one, left))
        await anyio.to_thread.run_sync(input)
        tasks.cancel_scope.cancel()


async def _serve_one(left: Departures, stream: SocketStream) -> None:
    reader = BufferedByteReceiveStream(stream)
    async with stream:
        try:
            while True:
                await _answer(left, stream, reader)
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
            return


async def _answer(
    left: Departures, stream: SocketStream, reader: BufferedByteReceiveStream
) -> None:
    head = (await reader.receive_until(b"\r\n\r\n", 64 * 1024)).decode().lower()
    if head.startswith("get"):
        count = int(head.split()[1].rpartition("/")[2])
        body = json.dumps(await left.last_of(count)).encode()
        await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        return
    length = int(head.partition("content-length:")[2].split()[0])
    asked = json.loads(await reader.receive_exactly(length))
    await stream.send(_HEAD)
    for _ in range(asked["max_tokens"]):
        await stream.send(_TOKEN)
    if asked["model"] == "endless":
        try:
            await reader.receive(1)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            await left.note()
            raise
    usage = {"prompt_tokens": 8, "completion_tokens": asked["max_tokens"], "total_tokens": 0}
    end = _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    await stream.send(end + _event({"choices": [], "usage": usage}) + _chunk(b"data: [DONE]\n\n"))
    await stream.send(b"0\r\n\r\n")


def _event(fields: dict[str, object]) -> bytes:
    told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
    return _chunk(b"data: " + json.dumps(told | fields).encode() + b"\n\n")


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


_TOKEN = _event({"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]})

if __name__ == "__main__":
    anyio.run(serve)
