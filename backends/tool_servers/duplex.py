"""A link over one stream in each direction, shared by all requests: stdio and legacy SSE."""

import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
import anyio.lowlevel

from backends.messages import JsonObject
from backends.tool_servers.jsonrpc import GarbageError, Message, encode, read_messages
from backends.tool_servers.lines import Line
from backends.tool_servers.link import LinkClosedError, OnMessage, Request

_MAX_WAITING = 64
_TURN = 64
"""Messages handled before other tasks have their turn: a flood must not starve them."""


logger = logging.getLogger(__name__)


class Pipe(Protocol):
    """Carries whole messages both ways."""

    async def write(self, message: bytes, /) -> None:
        """Send one message.

        Raises:
            LinkClosedError: The other end is gone.
        """
        ...

    async def read(self) -> Sequence[Line]:
        """Wait for messages.

        Raises:
            LinkClosedError: There will be no more.
        """
        ...


class Inbox:
    """What came for one request. A slow taker loses the oldest progress, never the answer."""

    def __init__(self) -> None:
        self._progress: deque[Message] = deque(maxlen=_MAX_WAITING)
        self._answer: Message | None = None
        self._failure: LinkClosedError | None = None
        self._changed = anyio.Event()

    def put(self, message: Message) -> None:
        """Add a message; after the answer nothing counts."""
        if message.method is not None:
            self._progress.append(message)
        elif self._answer is None:
            self._answer = message
        self._changed.set()

    def fail(self, failure: LinkClosedError) -> None:
        """Say that no answer will come."""
        self._failure = failure
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        while True:
            if self._progress:
                return self._progress.popleft()
            if self._answer is not None:
                return self._answer
            if self._failure is not None:
                # Each taker gets an error of its own: a raised one grows by its traceback.
                raise type(self._failure)(str(self._failure)) from self._failure
            await self._changed.wait()
            self._changed = anyio.Event()


class Duplex:
    """Tells answers apart by their ids. Runs on one event loop, so that no lock is needed."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._inboxes: dict[int, Inbox] = {}
        self._ended: LinkClosedError | None = None

    @asynccontextmanager
    async def exchange(self, request: Request, /) -> AsyncGenerator[AsyncIterator[Message]]:
        """Send a request and give what comes back for it."""
        self._check()
        inbox = self._inboxes[request.id] = Inbox()
        try:
            await self._pipe.write(encode(request.to_json()))
            yield inbox
        finally:
            del self._inboxes[request.id]

    async def send(self, message: JsonObject, /) -> None:
        """Send a notification or an answer."""
        self._check()
        await self._pipe.write(encode(message))

    def adopt(self, version: str, /) -> None:
        """Nothing here depends on the version."""

    async def run(self, on_message: OnMessage, /) -> LinkClosedError:
        """Hand out what comes until the pipe ends."""
        try:
            while True:
                for number, line in enumerate(await self._pipe.read(), start=1):
                    await self._deliver(line, on_message)
                    if number % _TURN == 0:
                        await anyio.lowlevel.checkpoint()
        except LinkClosedError as error:
            self._ended = error
            return error
        finally:
            self._ended = self._ended or LinkClosedError("was taken down")
            for inbox in self._inboxes.values():
                inbox.fail(self._ended)

    async def drain(self) -> None:
        """Wait for nothing: all exchanges share the pipe, and it is given up."""

    def _check(self) -> None:
        if self._ended is not None:
            raise LinkClosedError(str(self._ended))

    async def _deliver(self, line: Line, on_message: OnMessage) -> None:
        try:
            messages = read_messages(line)
        except GarbageError as error:
            logger.debug("a tool server sent what is no message", extra={"reason": str(error)})
            return
        for message in messages:
            inbox = self._inbox_of(message)
            if inbox is not None:
                inbox.put(message)
            elif message.method is not None:
                await on_message(message)

    def _inbox_of(self, message: Message) -> Inbox | None:
        if message.method == "notifications/progress":
            key = message.params.get("progressToken")
        elif message.method is None:
            key = message.id
            if key is None and len(self._inboxes) == 1:
                # An error about a request that was not understood, or an answer too large to read.
                return next(iter(self._inboxes.values()))
        else:
            return None
        # Not isinstance: `true` must not pass for 1.
        return self._inboxes.get(key) if type(key) is int else None
