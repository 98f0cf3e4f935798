"""Stdio against clients that send nonsense, vanish, or do not read; over real descriptors."""

import json
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from aios_mcp.server import AiosServer
from aios_mcp.server.descriptors import Descriptor, Wire
from aios_mcp.server.lines import MAX_LINE_BYTES
from aios_mcp.server.stdio import MAX_IN_FLIGHT, serve_wire
from backends.scripted import EchoCore
from tests.kernel.kernels import build, core
from tests.marks import asyncio_only
from tests.server.surfaces import memories, server

pytestmark = asyncio_only  # real descriptors need real time

ENVELOPE: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass
class Peer:
    """The client's ends of the wire."""

    to_server: int
    from_server: int
    ended: anyio.Event
    _held: bytearray = field(default_factory=bytearray)

    async def send(self, data: bytes) -> None:
        await Descriptor(self.to_server).write(data)

    async def ask(self, request_id: object, method: str, **params: object) -> None:
        params["_meta"] = ENVELOPE
        request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        await self.send(json.dumps(request, ensure_ascii=False).encode() + b"\n")

    async def call(self, request_id: object, tool: str, **arguments: object) -> None:
        await self.ask(request_id, "tools/call", name=tool, arguments=arguments)

    async def answer(self) -> dict[str, Any]:
        """Give the next message that has an id, or an error for none."""
        while True:
            while (end := self._held.find(b"\n")) < 0:
                chunk = await Descriptor(self.from_server).read()
                assert chunk, "the server closed the wire"
                self._held += chunk
            line = bytes(self._held[:end])
            del self._held[: end + 1]
            message: dict[str, Any] = json.loads(line)
            if "id" in message:
                return message

    def hang_up(self) -> None:
        os.close(self.to_server)


@asynccontextmanager
async def serving(
    served: AiosServer | None = None, *, sockets: bool = False, grace_seconds: float = 5.0
) -> AsyncGenerator[Peer]:
    """Serve over a pair of pipes, or of sockets, for the length of the block."""
    if sockets:
        pairs = [socket.socketpair(), socket.socketpair()]
        (server_in, peer_out), (peer_in, server_out) = ((a.detach(), b.detach()) for a, b in pairs)
    else:
        server_in, peer_out = os.pipe()
        peer_in, server_out = os.pipe()
    peer = Peer(peer_out, peer_in, anyio.Event())

    async def serve() -> None:
        wire = Wire(Descriptor(server_in), Descriptor(server_out))
        await serve_wire(served or server(), wire, grace_seconds=grace_seconds)
        peer.ended.set()

    try:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve)
                yield peer
                tasks.cancel_scope.cancel()
    finally:
        for fd in (server_in, server_out, peer_in, peer_out):
            with suppress(OSError):  # those a test has closed
                os.close(fd)


def _line(**message: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


def _nested(depth: int) -> bytes:
    return (
        b'{"jsonrpc":"2.0","id":7,"method":"ping","params":'
        + b'{"a":' * depth
        + b"1"
        + b"}" * (depth + 1)
    )


HOSTILE: list[tuple[str, bytes, int, object]] = [
    ("not JSON", b"hello", -32700, None),
    ("half a message", b'{"jsonrpc": "2.0", "id": 7', -32700, None),
    ("not UTF-8", b'{"jsonrpc":"2.0","id":7,"method":"\xff"}', -32700, None),
    ("a batch", b"[" + _line(id=7, method="ping") + b"]", -32600, None),
    ("an empty batch", b"[]", -32600, None),
    ("a number", b"7", -32600, None),
    ("null", b"null", -32600, None),
    ("a null id", _line(id=None, method="ping"), -32600, None),
    ("a boolean id", _line(id=True, method="ping"), -32600, None),
    ("a fractional id", _line(id=7.5, method="ping"), -32600, None),
    ("an object as id", _line(id={}, method="ping"), -32600, None),
    ("params in a list", _line(id=7, method="ping", params=[1]), -32600, 7),
    ("params in a string", _line(id=7, method="ping", params="x"), -32600, 7),
    ("a method that is a number", _line(id=7, method=5), -32600, 7),
    ("no version", b'{"id":7,"method":"ping"}', -32600, 7),
    ("another version", b'{"jsonrpc":"1.0","id":7,"method":"ping"}', -32600, 7),
    ("deep nesting", _nested(300), -32600, 7),
    ("bottomless nesting", _nested(100_000), -32600, None),
    ("an endless number", b'{"jsonrpc":"2.0","id":7,"n":' + b"9" * 5000 + b"}", -32700, None),
    ("a line without end", b"x" * (MAX_LINE_BYTES + 1), -32600, None),
]


@pytest.mark.parametrize("sockets", [False, True], ids=["pipes", "sockets"])
async def test_every_line_that_makes_no_sense_is_answered_and_the_server_lives(
    sockets: bool,
) -> None:
    async with serving(sockets=sockets) as peer:
        for what, line, code, request_id in HOSTILE:
            await peer.send(line + b"\n")
            answer = await peer.answer()
            assert (answer["error"]["code"], answer["id"]) == (code, request_id), what
            await peer.ask(f"after {what}", "tools/list")
            assert (await peer.answer())["id"] == f"after {what}"


async def test_blank_lines_and_stray_notifications_are_passed_over() -> None:
    async with serving() as peer:
        await peer.send(b"\n  \r\n" + _line(method="notifications/nonsense") + b"\n")
        await peer.ask(1, "tools/list")
        assert (await peer.answer())["id"] == 1


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\\udfffb"'])
async def test_a_lone_surrogate_is_survived_in_both_directions(text: str) -> None:
    async with serving() as peer:
        request = {"name": "llm_generate", "arguments": {"prompt": "PROMPT"}, "_meta": ENVELOPE}
        line = _line(id=1, method="tools/call", params=request).decode()
        await peer.send(line.replace('"PROMPT"', text).encode() + b"\n")
        answer = await peer.answer()
        assert "\ufffd" in answer["result"]["content"][0]["text"]
        await peer.send(f'{{"jsonrpc":"2.0","id":{text},"method":"nope"}}\n'.encode())
        assert (await peer.answer())["error"]["code"] != 0


async def test_a_number_out_of_range_is_refused() -> None:
    async with serving() as peer:
        params = {"name": "execute_tool", "arguments": {"tool": "x"}, "_meta": ENVELOPE}
        line = _line(id=1, method="tools/call", params=params)
        await peer.send(line.replace(b'"x"', b"1e999") + b"\n")
        assert (await peer.answer())["error"]["code"] == -32602


async def test_a_message_that_comes_byte_by_byte_is_understood() -> None:
    async with serving() as peer:
        for byte in _line(id=1, method="tools/list", params={"_meta": ENVELOPE}) + b"\n":
            await peer.send(bytes([byte]))
        assert (await peer.answer())["id"] == 1


async def test_a_large_answer_arrives_whole() -> None:
    async with serving(server(build(memories=memories()))) as peer:
        await peer.call(1, "add_memory", content="tea " + "é" * 1_000_000)
        await peer.answer()
        await peer.call(2, "search_memory", query="tea")
        answer = await peer.answer()
    assert len(answer["result"]["structuredContent"]["hits"][0]["content"]) == 1_000_004


async def test_all_calls_in_flight_are_answered_after_the_client_has_hung_up() -> None:
    kernel = build(core(llm=EchoCore(seconds_per_token=0.05), slots=50))
    async with serving(server(kernel)) as peer:
        for number in range(50):
            await peer.call(number, "llm_generate", prompt="one two")
        peer.hang_up()
        answers = [await peer.answer() for _ in range(50)]
        await peer.ended.wait()
    assert {answer["id"] for answer in answers} == set(range(50))
    assert all(answer["result"]["content"][0]["text"] == "one two " for answer in answers)


async def test_the_last_line_needs_no_end() -> None:
    async with serving() as peer:
        await peer.send(_line(id=1, method="tools/list", params={"_meta": ENVELOPE}))
        peer.hang_up()
        assert (await peer.answer())["id"] == 1
        await peer.ended.wait()


async def test_a_call_that_outlives_the_grace_is_cancelled_and_said_to_be() -> None:
    kernel = build(core(llm=EchoCore(seconds_per_token=60)))
    async with serving(server(kernel), grace_seconds=0.1) as peer:
        await peer.call(1, "llm_generate", prompt="endless")
        await peer.ask(2, "tools/list")
        assert (await peer.answer())["id"] == 2
        peer.hang_up()
        answer = await peer.answer()
        await peer.ended.wait()
    assert (answer["id"], "error" in answer) == (1, True)


async def test_a_cancelled_call_does_not_hold_up_the_end() -> None:
    kernel = build(core(llm=EchoCore(seconds_per_token=60)))
    async with serving(server(kernel), grace_seconds=1000) as peer:
        await peer.call(1, "llm_generate", prompt="endless")
        cancel = _line(method="notifications/cancelled", params={"requestId": 1})
        await peer.send(cancel + b"\n")
        peer.hang_up()
        await peer.ended.wait()


async def test_an_open_subscription_ends_with_its_closing_answer() -> None:
    async with serving(grace_seconds=1000) as peer:
        await peer.ask(1, "subscriptions/listen", notifications={"toolsListChanged": True})
        await peer.ask(2, "tools/list")
        assert (await peer.answer())["id"] == 2
        peer.hang_up()
        answer = await peer.answer()
        await peer.ended.wait()
    assert answer["result"]["resultType"] == "complete"


async def test_a_client_that_vanishes_ends_the_server() -> None:
    async with serving() as peer:
        os.close(peer.from_server)
        await peer.ask(1, "tools/list")
        await peer.ended.wait()


async def test_a_client_that_does_not_read_does_not_stop_the_end() -> None:
    async with serving(grace_seconds=0.1) as peer:
        for number in range(50):
            await peer.ask(number, "tools/list")
        peer.hang_up()
        await peer.ended.wait()


async def test_an_id_in_use_and_a_call_too_many_are_refused() -> None:
    kernel = build(core(llm=EchoCore(seconds_per_token=60)), max_waiting_per_agent=MAX_IN_FLIGHT)
    async with serving(server(kernel), grace_seconds=0.1) as peer:
        for number in range(MAX_IN_FLIGHT):
            await peer.call(number, "llm_generate", prompt="endless", max_tokens=1)
        await peer.call(7, "llm_generate", prompt="again")
        again = await peer.answer()
        await peer.call("more", "llm_generate", prompt="more")
        more = await peer.answer()
    assert (again["id"], again["error"]["code"]) == (None, -32600)
    assert "the id 7 is in progress" in again["error"]["message"]
    assert (more["id"], more["error"]["code"]) == ("more", -32603)


async def test_a_file_can_be_served(tmp_path: Path) -> None:
    asked, answered = tmp_path / "in", tmp_path / "out"
    asked.write_bytes(_line(id=1, method="tools/list", params={"_meta": ENVELOPE}) + b"\n")
    with asked.open("rb") as reads, answered.open("wb") as writes, anyio.fail_after(10):
        wire = Wire(Descriptor(reads.fileno()), Descriptor(writes.fileno()))
        await serve_wire(server(), wire)
    assert json.loads(answered.read_bytes())["id"] == 1
