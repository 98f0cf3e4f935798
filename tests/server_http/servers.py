"""HTTP fronts over a small MCP server, each on a free port of loopback."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import httpx2
from anyio.abc import SocketStream
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, InputRequiredResult, TextContent
from starlette.requests import Request

from aios_mcp.config.model import HttpPart
from aios_mcp.kernel import Agent, Agents
from aios_mcp.kernel.tokens import mint
from aios_mcp.server.http import build_app, serve_http
from aios_mcp.server.http.connections import Parser
from aios_mcp.server.identity import AGENT_KEY

KEY = b"k" * 32
NOW = 1_790_000_000.0
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
ACCEPT = "application/json, text/event-stream"
HOLD: dict[str, Any] = {"name": "hold", "arguments": {}}
LEGACY_HOLD: dict[str, Any] = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": HOLD}


def agents(**secrets: str) -> Agents:
    """Give the agents ada and bob, with the secrets given."""
    return Agents(
        {name: Agent(name=name) for name in ("ada", "bob")},
        secrets=secrets,
        token_key=KEY,
        now=lambda: NOW,
    )


def token(agent: str, *, seconds: float = 60) -> str:
    """Give a capability token; a negative time has passed already."""
    return mint(KEY, agent, expires=NOW + seconds)


class Probe:
    """A server whose tools say who calls, and hold until they are cancelled."""

    def __init__(self) -> None:
        self.holding = anyio.Event()
        self.cancelled = anyio.Event()
        self.released = anyio.Event()
        self.server = MCPServer[Any]("probe", log_level="WARNING")
        for tool in (self.whoami, self.hold, self.held, self.ask):
            self.server.add_tool(tool)
        self._held = 0

    async def whoami(self, ctx: Context[Any, Any]) -> str:
        """Give the agent's name."""
        request: object = ctx.request_context.request
        assert isinstance(request, Request)
        agent: Agent = request.scope[AGENT_KEY]
        return agent.name

    async def hold(self) -> str:
        """Wait until released."""
        self._held += 1
        self.holding.set()
        try:
            await self.released.wait()
        finally:
            self.cancelled.set()
        return "released"

    async def ask(self, ctx: Context[Any, Any]) -> CallToolResult | InputRequiredResult:
        """Need to be called again with the state."""
        if ctx.request_state is None:
            return InputRequiredResult(request_state="asked")
        return CallToolResult(content=[TextContent(text=ctx.request_state)])

    async def held(self) -> int:
        """Count the calls of `hold`."""
        return self._held


@asynccontextmanager
async def serving(
    served: Probe | MCPServer[Any] | None = None,
    *,
    known: Agents | None = None,
    http: HttpPart | None = None,
    parser: Parser = "httptools",
    grace_seconds: float = 0.0,
) -> AsyncGenerator[str]:
    """Serve for the length of the block; give the base URL."""
    server = served if isinstance(served, MCPServer) else (served or Probe()).server
    listening = anyio.Event()
    urls: list[str] = []

    def on_listening(url: str) -> None:
        urls.append(url)
        listening.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            partial(
                serve_http,
                server,
                known or agents(),
                host="127.0.0.1",
                port=0,
                http=http or HttpPart(),
                default_agent="ada",
                is_ready=lambda: True,
                on_listening=on_listening,
                grace_seconds=grace_seconds,
                parser=parser,
            )
        )
        with anyio.fail_after(10):
            await listening.wait()
        yield urls[0]
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def asking(
    *,
    known: Agents | None = None,
    http: HttpPart | None = None,
    is_ready: bool = True,
    base_url: str = "http://127.0.0.1",
) -> AsyncGenerator[httpx2.AsyncClient]:
    """Give a client of the app itself, with no server between."""
    app = build_app(
        Probe().server,
        known or agents(),
        http=http or HttpPart(),
        default_agent="ada",
        is_ready=lambda: is_ready,
    )
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url=base_url) as client:
        yield client


def modern(method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give a 2026-07-28 request."""
    meta: dict[str, Any] = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": method,
        "params": {**(params or {}), "_meta": meta},
    }


def modern_headers(method: str, name: str | None = None) -> dict[str, str]:
    """Give the headers that go with it."""
    headers = {"Accept": ACCEPT, "MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    return headers if name is None else {**headers, "Mcp-Name": name}


def initialize() -> dict[str, Any]:
    """Give the first request of a 2025-11-25 session."""
    params = {
        "protocolVersion": LEGACY,
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}


async def open_session(client: httpx2.AsyncClient, **headers: str) -> dict[str, str]:
    """Open a 2025-11-25 session; give the headers of its further requests."""
    base = {"Accept": ACCEPT, "MCP-Protocol-Version": LEGACY, **headers}
    opened = await client.post("/mcp", json=initialize(), headers=base)
    assert opened.status_code == 200, opened.text
    base["Mcp-Session-Id"] = opened.headers["mcp-session-id"]
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await client.post("/mcp", json=note, headers=base)).status_code == 202
    return base


async def connect(url: str) -> SocketStream:
    """Open a bare connection."""
    parts = httpx2.URL(url)
    assert parts.port is not None
    return await anyio.connect_tcp(parts.host, parts.port)


async def read_all(stream: SocketStream) -> bytes:
    """Read until the other side closes."""
    received = b""
    with anyio.fail_after(10):
        try:
            while True:
                received += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return received
