"""What the tool-server adapter adds to a downstream call, against the MCP SDK's own client.

Both talk to one kind of server, which answers by hand and at once, so that the difference lies in
the client. Rounds alternate; figures are of the median round.
"""

import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

import anyio
from mcp import Client, StdioServerParameters, stdio_client

from backends.messages import ToolProgress
from backends.tool_servers import StdioServer, open_tool_server
from benchmarks.figures import Figure

_SERVER = """
import json, sys
TOOLS = [{"name": "echo", "inputSchema": {"type": "object"}}]
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, params = message["method"], message.get("params", {})
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                  "serverInfo": {"name": "bench", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "tools/call":
        text = "x" * params["arguments"]["size"]
        result = {"content": [{"type": "text", "text": text}]}
    else:
        result = None
    outcome = {"error": {"code": -32601, "message": "no"}} if result is None else {"result": result}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **outcome}) + "\\n")
    sys.stdout.flush()
"""

Ask = Callable[[int], Awaitable[None]]
"""Makes one call whose answer holds a text of that many bytes."""


def run(*, quick: bool) -> list[Figure]:
    """Measure small calls, alone and many at once, and large answers."""
    return anyio.run(_measure, 5 if quick else 15)


async def _measure(rounds: int) -> list[Figure]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = Path(folder) / "server.py"
        server.write_text(_SERVER, encoding="utf-8")
        ours = await stack.enter_async_context(_through_the_adapter(server))
        sdk = await stack.enter_async_context(_through_the_sdk(server))
        return [
            _figure("a small call", *await _compare(ours, sdk, rounds, calls=300), bar=1.0),
            _figure(
                "small calls, 32 at once",
                *await _compare(ours, sdk, rounds, calls=960, at_once=32),
                bar=0.7,
            ),
            _figure(
                "an answer of 100 kB",
                *await _compare(ours, sdk, rounds, calls=100, size=100_000),
                bar=1.0,
            ),
            _figure(
                "an answer of 4 MB",
                *await _compare(ours, sdk, rounds, calls=2, size=4_000_000),
                bar=0.5,
            ),
        ]


def _figure(name: str, ours: float, sdk: float, *, bar: float) -> Figure:
    return Figure(
        name=f"{name}: adapter / SDK client",
        value=ours / sdk,
        unit="x",
        bar=bar,
        peer=f"{ours:,.0f} us against {sdk:,.0f} us for the SDK's client",
    )


async def _compare(
    ours: Ask, sdk: Ask, rounds: int, *, calls: int, at_once: int = 1, size: int = 32
) -> tuple[float, float]:
    """Give the microseconds a call takes through each."""
    times: dict[Ask, list[float]] = {ours: [], sdk: []}
    for _ in range(rounds):
        for ask, taken in times.items():
            start = time.perf_counter_ns()
            async with anyio.create_task_group() as tasks:
                for _ in range(at_once):
                    tasks.start_soon(_repeat, ask, calls // at_once, size)
            taken.append((time.perf_counter_ns() - start) / 1000 / calls)
    return median(times[ours]), median(times[sdk])


async def _repeat(ask: Ask, times: int, size: int) -> None:
    for _ in range(times):
        await ask(size)


@asynccontextmanager
async def _through_the_adapter(server: Path) -> AsyncGenerator[Ask]:
    settings = StdioServer(command=(sys.executable, str(server)), max_result_bytes=16_000_000)

    async def ignore(progress: ToolProgress) -> None:
        del progress

    async with open_tool_server("bench", settings) as tools:

        async def ask(size: int) -> None:
            await tools.call("echo", {"size": size}, ignore)

        await ask(1)
        yield ask


@asynccontextmanager
async def _through_the_sdk(server: Path) -> AsyncGenerator[Ask]:
    parameters = StdioServerParameters(command=sys.executable, args=[str(server)])
    async with Client(stdio_client(parameters)) as client:

        async def ask(size: int) -> None:
            await client.call_tool("echo", {"size": size})

        await ask(1)
        yield ask
