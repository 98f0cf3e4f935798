"""The tools of `EchoTools` and some more as a real MCP server: `echo_server.py [PORT]`.

Without a port it speaks over stdio. With one (0 is any) it serves `/mcp` and `/sse` on the
loopback interface and prints the port.
"""

import os
import socket
import sys
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from starlette.applications import Starlette

mcp = MCPServer("echo", log_level="ERROR")


def text(content: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=content)])


@mcp.tool(name="echo")
async def echo(text: str) -> types.CallToolResult:
    """Give the text back."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


@mcp.tool()
async def wait(seconds: float, ctx: Context, mark: str = "") -> types.CallToolResult:
    """Wait for some seconds and report progress; if cancelled, leave the file `mark`."""
    await ctx.report_progress(0.0, seconds)
    try:
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
        if mark:
            os.close(os.open(mark, os.O_CREAT))
        raise
    await ctx.report_progress(seconds, seconds)
    return text("done")


@mcp.tool()
async def pid() -> types.CallToolResult:
    """Say which process this is."""
    return text(str(os.getpid()))


@mcp.tool()
async def errand(ctx: Context) -> types.CallToolResult:
    """Give the token of the call's errand."""
    meta: dict[str, Any] = {**(ctx.request_context.meta or {})}
    return text(str(meta.get("aios-mcp/errand", "")))


@mcp.tool()
async def big(size: int) -> types.CallToolResult:
    """Give a text of that many bytes."""
    return text("x" * size)


@mcp.tool()
async def crash() -> types.CallToolResult:
    """End the process in the middle of the call."""
    os._exit(3)


@mcp.tool()
async def grow(name: str, ctx: Context) -> types.CallToolResult:
    """Publish one more tool."""
    mcp.add_tool(pid, name=name)
    await ctx.notify_tools_changed()
    await ctx.session.send_tool_list_changed()
    return text("grown")


def serve(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    http, sse = mcp.streamable_http_app(), mcp.sse_app()
    app = Starlette(routes=[*http.routes, *sse.routes], lifespan=http.router.lifespan_context)
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(int(sys.argv[1]))
    else:
        mcp.run("stdio")
