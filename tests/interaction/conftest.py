"""One way to connect for every transport and both protocol eras."""

import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from trio.testing import MockClock

from aios_mcp.config.model import HttpPart
from aios_mcp.server import AiosServer
from aios_mcp.server.http import serve_http
from tests.interaction.program import slow_kernel, two_agents
from tests.server.surfaces import SECRETS, server

ROOT = Path(__file__).parent.parent.parent

Connect: TypeAlias = Callable[..., AbstractAsyncContextManager[Client]]

# Real pipes and sockets need real time.
WAYS = [
    ("memory", "auto", "trio"),
    ("memory", "auto", "asyncio"),
    ("memory", "legacy", "trio"),
    ("stdio", "auto", "asyncio"),
    ("stdio", "legacy", "asyncio"),
    ("http", "auto", "asyncio"),
    ("http", "legacy", "asyncio"),
    ("sse", "auto", "asyncio"),
    ("sse", "legacy", "asyncio"),
]


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    """Transport, protocol era, event loop."""
    transport, mode, loop = request.param
    return transport, mode, loop


@pytest.fixture
def transport(way: tuple[str, str, str]) -> str:
    return way[0]


@pytest.fixture
def anyio_backend(way: tuple[str, str, str]) -> object:
    if way[2] == "trio":
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return "asyncio"


@pytest.fixture
async def connect(way: tuple[str, str, str]) -> AsyncGenerator[Connect]:
    """Give what opens a connection for an agent (ada), to one server for the whole test."""
    transport, mode, _ = way
    kernel, agents = slow_kernel(), two_agents()

    def in_memory(name: str = "ada") -> Client:
        return Client(server(kernel, agents=agents, default_agent=name), mode=mode)

    def over_stdio() -> Client:
        return Client(_program(), mode=mode)

    if transport == "memory":
        yield in_memory
    elif transport == "stdio":
        yield over_stdio
    else:
        async with _http(server(kernel, agents=agents)) as url:

            def over_http(name: str = "ada") -> AbstractAsyncContextManager[Client]:
                return _over_http(transport, url, name, mode)

            yield over_http


def _program() -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-W", "error", "-m", "tests.interaction.program"],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        cwd=ROOT,
    )


@asynccontextmanager
async def _http(served: AiosServer) -> AsyncGenerator[str]:
    urls: list[str] = []
    listening = anyio.Event()

    def on_listening(url: str) -> None:
        urls.append(url)
        listening.set()

    async def serve() -> None:
        await serve_http(
            served,
            two_agents(),
            host="127.0.0.1",
            port=0,
            http=HttpPart(),
            default_agent="ada",
            is_ready=lambda: True,
            on_listening=on_listening,
            grace_seconds=0.1,
        )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        with anyio.fail_after(10):
            await listening.wait()
        yield urls[0]
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _over_http(transport: str, url: str, name: str, mode: str) -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {SECRETS[name]}"}
    if transport == "sse":
        async with Client(sse_client(f"{url}/sse", headers=headers), mode=mode) as client:
            yield client
        return
    async with create_mcp_http_client(headers=headers) as http:
        streams = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(streams, mode=mode) as client:
            yield client
