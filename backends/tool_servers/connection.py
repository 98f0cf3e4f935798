"""One agreed conversation with a server, over whatever link: requests, listings and calls."""

import math
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import cast

import anyio
from mcp.shared.inbound import encode_header_value

from backends.errors import OutputTooLargeError
from backends.messages import ERRAND_KEY, JsonObject, ToolResult
from backends.protocols import OnProgress
from backends.tool_servers.eras import LEGACY, MODERN, Agreement, Era, negotiate
from backends.tool_servers.jsonrpc import METHOD_NOT_FOUND, Message, RpcError, as_text
from backends.tool_servers.link import LIST_BYTES, Link, LinkClosedError, Request
from backends.tool_servers.tools import Listing, Tool, read_progress, read_result, read_tool

_MAX_LISTED_BYTES = 32 * 1024 * 1024
_MAX_PAGES = 1000
_PROBE_SECONDS = 5.0
_CANCEL_SECONDS = 1.0
_SILENT_SECONDS = 5.0
_LISTEN_AGAIN_SECONDS = 15.0

OnChange = Callable[[], None]
"""Called when the server's tools may have changed."""


class Connection:
    """Speaks MCP over a link. Its owner runs `receive` and, once it is open, `attend`."""

    def __init__(self, link: Link, *, on_change: OnChange, patience_seconds: float) -> None:
        self._link = link
        self._on_change = on_change
        self._patience_seconds = patience_seconds
        self._ids = count(1)
        self._agreement = Agreement(MODERN, announces_changes=False)
        self._heard_at = anyio.current_time()
        self._doubt = anyio.Event()

    async def open(self, known: Era | None) -> Era:
        """Agree on a protocol version.

        Raises:
            LinkClosedError: The server is gone, or there is no common version.
        """
        try:
            probe_seconds = min(_PROBE_SECONDS, self._patience_seconds / 2)
            self._agreement = await negotiate(self._ask, known, probe_seconds=probe_seconds)
        except RpcError as error:
            raise LinkClosedError("refuses to talk to us; see its own log") from error
        era = self._agreement.era
        self._link.adopt(era.version)
        if not era.is_modern:
            await self._notify("notifications/initialized", {})
        return era

    async def list_tools(self) -> Listing:
        """Read all pages of the tool list.

        Raises:
            LinkClosedError: The server is gone.
            RpcError: It refuses.
            OutputTooLargeError: The list is too long.
        """
        tools: dict[str, Tool] = {}
        fresh_seconds, cursor, size = math.inf, None, 0
        for _ in range(_MAX_PAGES):
            params: JsonObject = {} if cursor is None else {"cursor": cursor}
            answer = await self._request("tools/list", params)
            size += answer.size_bytes
            if size > _MAX_LISTED_BYTES:
                raise OutputTooLargeError(size_bytes=size, limit_bytes=_MAX_LISTED_BYTES)
            page = answer.result or {}
            entries = page.get("tools")
            for entry in cast("list[object]", entries) if isinstance(entries, list) else ():
                tool = read_tool(entry)
                if tool is not None:
                    tools.setdefault(tool.spec.name, tool)
            ttl = page.get("ttlMs")
            if isinstance(ttl, int | float):
                fresh_seconds = min(fresh_seconds, ttl / 1000)
            cursor = as_text(page.get("nextCursor"))
            if cursor is None:
                break
        return Listing(dict(sorted(tools.items())), fresh_seconds)

    async def call(
        self,
        tool: Tool,
        arguments: JsonObject,
        on_progress: OnProgress,
        errand: str,
        *,
        limit_bytes: int,
    ) -> ToolResult:
        """Run a tool.

        Raises:
            LinkClosedError: The server is gone.
            RpcError: It refuses.
            OutputTooLargeError: The result is above the limit.
        """

        async def report(message: Message) -> None:
            progress = read_progress(message.params)
            if progress is not None:
                await on_progress(progress)

        answer = await self._request(
            "tools/call",
            {"name": tool.spec.name, "arguments": dict(arguments)},
            meta={ERRAND_KEY: errand} if errand else {},
            headers=tool.headers(arguments),
            limit_bytes=limit_bytes,
            report=report,
        )
        return read_result(answer.result or {})

    async def receive(self) -> LinkClosedError:
        """Take in what comes until the link ends; give the reason."""
        return await self._link.run(self._on_message)

    async def attend(self) -> LinkClosedError:
        """Watch over an open connection until there is reason to give it up."""
        async with anyio.create_task_group() as tasks:
            if self._agreement.era.is_modern and self._agreement.announces_changes:
                tasks.start_soon(self._listen)
            await self._until_silent()
            tasks.cancel_scope.cancel()
        return LinkClosedError("has stopped answering")

    async def _until_silent(self) -> None:
        """Return when the server does not even answer a ping."""
        while True:
            await self._doubt.wait()
            self._doubt = anyio.Event()
            with anyio.move_on_after(self._patience_seconds) as limit:
                try:
                    await self._request("ping", {})
                except (RpcError, LinkClosedError, OutputTooLargeError):
                    # Any answer will do; a link that has ended is seen by `receive`.
                    continue
            if limit.cancelled_caught:
                return

    async def _listen(self) -> None:
        """Hold a subscription to changes of the tool list."""
        while True:
            try:
                await self._request(
                    "subscriptions/listen", {"notifications": {"toolsListChanged": True}}
                )
            except RpcError:
                return
            except (LinkClosedError, OutputTooLargeError):
                pass
            await anyio.sleep(_LISTEN_AGAIN_SECONDS)
            # What changed in between was not announced.
            self._on_change()

    async def _ask(self, method: str, params: JsonObject) -> JsonObject:
        era = MODERN if method == "server/discover" else LEGACY
        return (await self._request(method, params, era=era)).result or {}

    async def _request(
        self,
        method: str,
        params: JsonObject,
        *,
        era: Era | None = None,
        meta: JsonObject | None = None,
        headers: Mapping[str, str] | None = None,
        limit_bytes: int = LIST_BYTES,
        report: Callable[[Message], Awaitable[None]] | None = None,
    ) -> Message:
        id_ = next(self._ids)
        era = era or self._agreement.era
        progress = {} if report is None else {"progressToken": id_}
        meta = {**era.meta(), **progress, **(meta or {})}
        request = Request(
            id=id_,
            method=method,
            params={**params, "_meta": meta} if meta else params,
            headers={**_routing(era, method, params), **(headers or {})} if era.is_modern else {},
            limit_bytes=limit_bytes,
        )
        started = anyio.current_time()
        try:
            return await self._exchange(request, report)
        except (LinkClosedError, RpcError, OutputTooLargeError):
            raise
        except BaseException:
            await self._abandon(request, started)
            raise

    async def _exchange(
        self, request: Request, report: Callable[[Message], Awaitable[None]] | None
    ) -> Message:
        async with self._link.exchange(request) as messages:
            async for message in messages:
                self._heard_at = anyio.current_time()
                if message.method is None:
                    if message.id in {request.id, None}:
                        return _answer(message, request)
                elif message.method == "notifications/progress" and report is not None:
                    await report(message)
                else:
                    await self._on_message(message)
        raise LinkClosedError("ended the stream before it had answered")

    async def _abandon(self, request: Request, started: float) -> None:
        """Tell the server that nobody waits any more; doubt it if it has long been silent."""
        if request.method == "initialize":
            return
        with anyio.move_on_after(_CANCEL_SECONDS, shield=True):
            try:
                await self._notify("notifications/cancelled", {"requestId": request.id})
            except LinkClosedError:
                return
        now = anyio.current_time()
        if self._heard_at <= started <= now - _SILENT_SECONDS:
            self._doubt.set()

    async def _notify(self, method: str, params: JsonObject) -> None:
        meta = self._agreement.era.meta()
        params = {**params, "_meta": meta} if meta else params
        await self._link.send({"jsonrpc": "2.0", "method": method, "params": params})

    async def _on_message(self, message: Message) -> None:
        self._heard_at = anyio.current_time()
        if message.method == "notifications/tools/list_changed":
            self._on_change()
        if message.id is None or message.method is None:
            return
        # We declare no capabilities, so that only `ping` is a request a server may make.
        answer: JsonObject = {"result": {}}
        if message.method != "ping":
            answer = {"error": {"code": METHOD_NOT_FOUND, "message": "not offered by this client"}}
        try:
            await self._link.send({"jsonrpc": "2.0", "id": message.id, **answer})
        except LinkClosedError:
            return


def _routing(era: Era, method: str, params: JsonObject) -> Mapping[str, str]:
    headers = {"mcp-protocol-version": era.version, "mcp-method": method}
    name = params.get("name")
    return headers | {"mcp-name": encode_header_value(name)} if isinstance(name, str) else headers


def _answer(message: Message, request: Request) -> Message:
    if message.size_bytes > request.limit_bytes:
        raise OutputTooLargeError(size_bytes=message.size_bytes, limit_bytes=request.limit_bytes)
    if message.error is not None:
        raise message.error
    return message
