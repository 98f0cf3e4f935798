"""A link in memory, which opens, fails, falls silent and ends as a test tells it to."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio

from backends.messages import JsonObject
from backends.tool_servers.duplex import Inbox
from backends.tool_servers.jsonrpc import Message, RpcError, as_object
from backends.tool_servers.link import LinkClosedError, OnMessage, Request, SessionLostError

DISCOVERED: JsonObject = {
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {"listChanged": True}},
}
INITIALIZED: JsonObject = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}


class ScriptedServer:
    """What all links lead to.

    Attributes:
        modern: It knows `server/discover`.
        refuses: Opening a link fails for this reason.
        silent_at: Methods that are never answered.
        tools: Names of its tools.
        ttl_ms: What it says of its list.
        asked: Methods of all requests, in order.
        told: The `_meta` of all calls.
        sent: Notifications it got.
        opened: When links were opened.
        ends: Set to end the open link.
        forgets: Calls that meet a lost session.
    """

    def __init__(self, *, modern: bool = False) -> None:
        self.modern = modern
        self.refuses = ""
        self.silent_at: set[str] = set()
        self.tools = ["echo"]
        self.ttl_ms: int | None = None
        self.asked: list[str] = []
        self.told: list[JsonObject] = []
        self.sent: list[JsonObject] = []
        self.opened: list[float] = []
        self.ends = anyio.Event()
        self.forgets = 0
        self.on_message: OnMessage | None = None

    @asynccontextmanager
    async def open_link(self) -> AsyncGenerator["ScriptedLink"]:
        self.opened.append(anyio.current_time())
        self.ends = anyio.Event()
        if self.refuses:
            raise LinkClosedError(self.refuses)
        yield ScriptedLink(self)

    async def announce(self, method: str) -> None:
        assert self.on_message is not None
        await self.on_message(Message(method=method, params={}, size_bytes=0))

    def answer(self, request: Request) -> Message:
        results: dict[str, JsonObject] = {
            "initialize": INITIALIZED,
            "tools/list": self._listing(),
            "tools/call": {"content": [{"type": "text", "text": "done"}]},
            "ping": {},
        }
        if self.modern:
            results["server/discover"] = DISCOVERED
            del results["initialize"], results["ping"]
        result = results.get(request.method)
        error = RpcError(-32601, "Method not found") if result is None else None
        return Message(id=request.id, params={}, result=result, error=error, size_bytes=10)

    def _listing(self) -> JsonObject:
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in self.tools]
        return {"tools": tools} | ({} if self.ttl_ms is None else {"ttlMs": self.ttl_ms})


class ScriptedLink:
    """One link to a `ScriptedServer`."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self._inboxes: list[Inbox] = []

    @asynccontextmanager
    async def exchange(self, request: Request, /) -> AsyncGenerator[AsyncIterator[Message]]:
        self._server.asked.append(request.method)
        if request.method == "tools/call":
            self._server.told.append(as_object(request.params.get("_meta")))
        if request.method == "tools/call" and self._server.forgets:
            self._server.forgets -= 1
            raise SessionLostError("has forgotten the session")
        inbox = Inbox()
        if request.method not in self._server.silent_at:
            inbox.put(self._server.answer(request))
        self._inboxes.append(inbox)
        yield inbox

    async def send(self, message: JsonObject, /) -> None:
        self._server.sent.append(message)

    def adopt(self, version: str, /) -> None:
        del version

    async def run(self, on_message: OnMessage, /) -> LinkClosedError:
        self._server.on_message = on_message
        await self._server.ends.wait()
        reason = LinkClosedError("ended with code 1")
        for inbox in self._inboxes:
            inbox.fail(reason)
        return reason

    async def drain(self) -> None:
        pass
