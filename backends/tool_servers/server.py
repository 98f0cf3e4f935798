"""A downstream MCP server as the kernel sees it; see `backends.protocols.ToolServer`."""

import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from backends.errors import ToolNotFoundError, ToolServerTimeoutError, ToolServerUnavailableError
from backends.messages import JsonObject, ServerStatus, ToolResult, ToolSpec
from backends.protocols import OnProgress
from backends.tool_servers.connection import Connection
from backends.tool_servers.duplex import Duplex
from backends.tool_servers.http import open_http
from backends.tool_servers.jsonrpc import RpcError
from backends.tool_servers.link import (
    Link,
    LinkClosedError,
    OpenLink,
    SessionLostError,
    own_tasks,
)
from backends.tool_servers.process import open_process
from backends.tool_servers.settings import HttpServer, StdioServer
from backends.tool_servers.sse import open_sse
from backends.tool_servers.supervisor import Supervisor
from backends.tool_servers.tools import Listing, Tool, failed, reads_as_unknown

T = TypeVar("T")


class McpToolServer:
    """Runs tools over a supervised connection, which all callers share."""

    def __init__(
        self,
        name: str,
        settings: StdioServer | HttpServer,
        *,
        open_link: OpenLink,
        tasks: TaskGroup,
    ) -> None:
        self._name = name
        self._settings = settings
        self._supervisor = Supervisor(
            name,
            open_link,
            connect_seconds=settings.connect_deadline_seconds,
            tasks=tasks,
            on_change=self._expire,
            jitter=random.random,
        )
        self._listing = Listing({})
        self._fresh_until = -math.inf
        self._changes = 0
        # Guards the listing while it is read, so that many callers make one request.
        self._reading = anyio.Lock()

    async def list_tools(self, /) -> tuple[ToolSpec, ...]:
        """List the published tools, sorted by name.

        Raises:
            ToolServerError: The server could not be reached, or not in time.
        """
        listing = await self._list()
        return tuple(tool.spec for tool in listing.tools.values())

    async def call(
        self, name: str, arguments: JsonObject, on_progress: OnProgress, errand: str = "", /
    ) -> ToolResult:
        """Run one tool. Cancelling the call cancels it downstream.

        Raises:
            ToolServerError: See its subclasses; a tool's own failure is a result.
        """
        tool = self._listing.tools.get(name) or await self._find(name)
        try:
            result = await self._run(tool, arguments, on_progress, errand)
        except RpcError as error:
            result = failed(str(error))
        if reads_as_unknown(result, name):
            self._expire()
            await self._find(name)
        return result

    def status(self) -> ServerStatus:
        """Say how the server is."""
        return ServerStatus(
            state=self._supervisor.state,
            tools=len(self._listing.tools),
            restarts=max(0, self._supervisor.opened - 1),
            last_failure=self._supervisor.last_failure,
        )

    async def _run(
        self, tool: Tool, arguments: JsonObject, on_progress: OnProgress, errand: str
    ) -> ToolResult:
        limit_bytes = self._settings.max_result_bytes
        return await self._ask(
            f"tool {tool.spec.name!r} of server {self._name!r}",
            self._settings.call_deadline_seconds,
            lambda connection: connection.call(
                tool, arguments, on_progress, errand, limit_bytes=limit_bytes
            ),
        )

    async def _find(self, name: str) -> Tool:
        listing = await self._list()
        if name not in listing.tools:
            raise ToolNotFoundError(f"tool server {self._name!r} has no tool {name!r}")
        return listing.tools[name]

    async def _list(self) -> Listing:
        async with self._reading:
            if anyio.current_time() >= self._fresh_until:
                await self._read_listing()
            return self._listing

    async def _read_listing(self) -> None:
        changes = self._changes
        try:
            listing = await self._ask(
                f"the tool list of server {self._name!r}",
                self._settings.connect_deadline_seconds,
                lambda connection: connection.list_tools(),
            )
        except RpcError as error:
            raise ToolServerUnavailableError(
                f"tool server {self._name!r} refuses to list its tools", retry_after_seconds=None
            ) from error
        self._listing = listing
        # A change that was announced meanwhile may not be in it.
        fresh_seconds = listing.fresh_seconds if changes == self._changes else 0.0
        self._fresh_until = anyio.current_time() + fresh_seconds

    def _expire(self) -> None:
        self._changes += 1
        self._fresh_until = -math.inf

    async def _ask(
        self, what: str, seconds: float, work: Callable[[Connection], Awaitable[T]]
    ) -> T:
        """Do work over the open connection; the deadline counts from when it is open."""
        failure: ToolServerUnavailableError | None = None
        for _ in range(2):
            attempt, connection = await self._supervisor.connection()
            with anyio.move_on_after(seconds):
                try:
                    done = await work(connection)
                except LinkClosedError as error:
                    failure = self._supervisor.lost(attempt, error)
                    if not isinstance(error, SessionLostError):
                        raise failure from error
                    # It was not run, so that it may be sent again, in a new session.
                    continue
                self._supervisor.praise()
                return done
            raise ToolServerTimeoutError(f"{what} did not end within {seconds:g} s")
        assert failure is not None
        raise failure


@asynccontextmanager
async def open_tool_server(
    name: str, settings: StdioServer | HttpServer
) -> AsyncGenerator[McpToolServer]:
    """Give a tool server, which is reached at its first use and left at the end of the block."""
    async with own_tasks() as tasks:
        yield McpToolServer(name, settings, open_link=partial(_open_link, settings), tasks=tasks)


@asynccontextmanager
async def _open_link(settings: StdioServer | HttpServer) -> AsyncGenerator[Link]:
    if isinstance(settings, StdioServer):
        async with open_process(settings) as process:
            yield Duplex(process)
    elif settings.transport == "sse":
        async with open_sse(settings) as sse:
            yield Duplex(sse)
    else:
        async with open_http(settings) as http:
            yield http
