"""Stdio: one client on stdin and stdout, served until it closes stdin."""

import logging
from contextlib import suppress

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from aios_mcp.server.descriptors import Descriptor, Wire, standard_wire
from aios_mcp.server.lines import Lines, RefusedLineError, read_message, write_message
from aios_mcp.server.server import AiosServer

GRACE_SECONDS = 5.0
"""How long calls in progress may take to end once the client has closed stdin."""

MAX_IN_FLIGHT = 256
_CLOSE_SECONDS = 2.0

logger = logging.getLogger(__name__)


async def serve_stdio(server: AiosServer) -> None:
    """Serve stdin and stdout until stdin ends, the client is gone, or cancellation.

    Until then, what anything in this process prints to stdout goes to stderr.
    """
    with standard_wire() as wire:
        await serve_wire(server, wire)


async def serve_wire(
    server: AiosServer, wire: Wire, *, grace_seconds: float = GRACE_SECONDS
) -> None:
    """Serve one client over two descriptors."""
    inbound, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outbound, to_send = anyio.create_memory_object_stream[SessionMessage](0)
    calls = _Calls()
    reader = _Reader(server, calls, inbound, outbound.clone(), grace_seconds)
    async with anyio.create_task_group() as tasks:

        async def write() -> None:
            # Closed when the server and the reader are done with it.
            with suppress(BrokenPipeError, ConnectionResetError):
                async with to_send:
                    async for message in to_send:
                        await wire.writes.write(write_message(message.message))
                        calls.answered(message.message)
            # All was said, or nobody listens.
            tasks.cancel_scope.cancel()

        tasks.start_soon(reader.run, wire.reads)
        tasks.start_soon(write)
        await server.serve_streams(received, outbound)
        tasks.cancel_scope.deadline = anyio.current_time() + _CLOSE_SECONDS


class _Calls:
    """The requests that wait for an answer, by id; to the SDK, "1" and 1 are the same id."""

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._idle = anyio.Event()

    def begin(self, request: JSONRPCRequest) -> None:
        if str(request.id) in self._open:
            # Not under its id: that would read as the answer to the other one.
            reason = f"a request with the id {request.id!r} is in progress"
            raise RefusedLineError(INVALID_REQUEST, reason)
        if len(self._open) >= MAX_IN_FLIGHT:
            reason = f"{MAX_IN_FLIGHT} requests are in progress; try again later"
            raise RefusedLineError(INTERNAL_ERROR, reason, request.id)
        self._open.add(str(request.id))

    def answered(self, message: JSONRPCMessage) -> None:
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self._end(message.id)

    def cancelled(self, request_id: object) -> None:
        """Take note of a request that gets no answer any more."""
        if isinstance(request_id, int | str):
            self._end(request_id)

    async def wait_idle(self) -> None:
        while self._open:
            self._idle = anyio.Event()
            await self._idle.wait()

    def _end(self, request_id: RequestId) -> None:
        self._open.discard(str(request_id))
        if not self._open:
            self._idle.set()


class _Reader:
    """Reads messages until the input ends; then gives the calls in progress time to end."""

    def __init__(
        self,
        server: AiosServer,
        calls: _Calls,
        inbound: MemoryObjectSendStream[SessionMessage | Exception],
        outbound: MemoryObjectSendStream[SessionMessage],
        grace_seconds: float,
    ) -> None:
        self._server = server
        self._calls = calls
        self._inbound = inbound
        self._outbound = outbound
        self._grace_seconds = grace_seconds

    async def run(self, source: Descriptor) -> None:
        async with self._inbound, self._outbound:
            with suppress(anyio.BrokenResourceError):  # the server has ended
                lines = Lines()
                while chunk := await source.read():
                    for line in lines.feed(chunk):
                        await self._take(line)
                await self._take(lines.end())
                self._server.close_subscriptions()
                with anyio.move_on_after(self._grace_seconds):
                    await self._calls.wait_idle()

    async def _take(self, line: bytes | None) -> None:
        if line is not None and not line.strip():
            return
        try:
            message = read_message(line)
            if isinstance(message, JSONRPCRequest):
                self._calls.begin(message)
        except RefusedLineError as exc:
            logger.info("refused a line of stdin", extra={"reason": str(exc)})
            await self._outbound.send(SessionMessage(exc.answer))
            return
        if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._calls.cancelled((message.params or {}).get("requestId"))
        await self._inbound.send(SessionMessage(message))
