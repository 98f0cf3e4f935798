"""A small MCP server that asks aios-mcp back: the kernel's models do its work.

    AIOS_URL=http://127.0.0.1:8765/mcp AIOS_TOKEN=... python examples/summary_server.py

It is an agent of the kernel, which pays for what it asks, and a tool server behind it:

    [agents.summary]
    token = "env:SUMMARY_TOKEN"
    llm = { tiers = ["fast"] }

    [servers.summary]
    command = ["python", "examples/summary_server.py"]
    env = { AIOS_URL = "http://127.0.0.1:8765/mcp", AIOS_TOKEN = "env:SUMMARY_TOKEN" }
    calls_back = true

With `calls_back` each call of its tool comes with a token, good for as long as the call lasts. What
is asked with it is as urgent as that call, whatever else this server has in line.
"""

import os
from typing import Annotated, Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import TextContent, ToolAnnotations
from pydantic import Field

ERRAND = "aios-mcp/errand"


class Summaries:
    """Summaries of texts, written by the models of a kernel.

    Args:
        url: Where the kernel is served.
        token: What makes this server one of its agents.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def summarise(
        self, text: Annotated[str, Field(max_length=20_000)], context: Context
    ) -> str:
        """Say in one sentence what a text says."""
        meta: dict[str, Any] = {**(context.request_context.meta or {})}
        errand: Any = {ERRAND: meta[ERRAND]} if ERRAND in meta else None
        prompt = f"Say in one sentence what this text says.\n\n{text}"
        async with (
            httpx2.AsyncClient(headers=self._headers, timeout=60) as http,
            Client(streamable_http_client(self._url, http_client=http)) as kernel,
        ):
            answer = await kernel.call_tool(
                "llm_generate",
                {"prompt": prompt, "model": "fast", "priority": "batch", "max_tokens": 100},
                progress_callback=context.report_progress,
                meta=errand,
            )
        block = answer.content[0]
        said = block.text if isinstance(block, TextContent) else ""
        if answer.is_error:
            raise ToolError(said)
        return said


def build(url: str, token: str) -> MCPServer:
    """Give the server, as an agent of the kernel at a URL."""
    server = MCPServer("summary", instructions="Summaries of texts.", log_level="WARNING")
    hints = ToolAnnotations(read_only_hint=True)
    server.add_tool(Summaries(url, token).summarise, title="Summarise", annotations=hints)
    return server


def main() -> None:
    """Serve over stdio."""
    build(os.environ["AIOS_URL"], os.environ["AIOS_TOKEN"]).run("stdio")


if __name__ == "__main__":
    main()
