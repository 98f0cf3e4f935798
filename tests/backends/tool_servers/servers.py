"""The test servers as settings, and what tests ask of them."""

import json
import select
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio

from backends.messages import ToolProgress, ToolResult
from backends.protocols import ToolServer
from backends.tool_servers import McpToolServer, StdioServer, open_tool_server

HERE = Path(__file__).parent
ECHO = (sys.executable, str(HERE / "echo_server.py"))


def hostile(mode: str = "sound", **more: Any) -> StdioServer:
    """The hostile server, with deadlines as short as a busy machine allows."""
    command = (sys.executable, "-S", "-E", str(HERE / "hostile_server.py"), mode)
    defaults: dict[str, Any] = {"connect_deadline_seconds": 10.0, "call_deadline_seconds": 10.0}
    return StdioServer(command=command, **(defaults | more))


@asynccontextmanager
async def open_hostile(mode: str = "sound", **more: Any) -> AsyncGenerator[McpToolServer]:
    with anyio.fail_after(50):
        async with open_tool_server("hostile", hostile(mode, **more)) as server:
            yield server


@contextmanager
def running_over_http(port: int = 0) -> Generator[tuple[subprocess.Popen[bytes], str]]:
    """Run the echo server as an HTTP server; gives the process and the URL without a path."""
    with subprocess.Popen([*ECHO, str(port)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            ready, _, _ = select.select([process.stdout], [], [], 30)
            assert ready
            yield process, f"http://127.0.0.1:{process.stdout.readline().decode().strip()}"
        finally:
            process.kill()


async def no_progress(progress: ToolProgress) -> None:
    del progress


async def call(server: ToolServer, name: str, /, **arguments: object) -> ToolResult:
    return await server.call(name, arguments, no_progress)


async def text_of(server: ToolServer, name: str, /, **arguments: object) -> str:
    [block] = (await call(server, name, **arguments)).content
    return str(block["text"])


async def json_of(server: ToolServer, name: str, /, **arguments: object) -> Any:
    return json.loads(await text_of(server, name, **arguments))


async def until(path: anyio.Path) -> None:
    """Wait for a file to appear."""
    with anyio.fail_after(10):
        while not await path.exists():  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def until_gone(pid: int) -> None:
    """Wait for a process to be gone; one that nobody reaps counts as gone."""
    status = anyio.Path(f"/proc/{pid}/stat")
    with anyio.fail_after(10):
        while await status.exists() and ") Z " not in await status.read_text():  # noqa: ASYNC110
            await anyio.sleep(0.02)
