"""MCP Inspector's command line lists and calls the six tools, over stdio and HTTP, in both eras."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.conformance.programs import AIOS, run_node, serving, write_config
from tests.marks import asyncio_only

pytestmark = [asyncio_only, pytest.mark.node, pytest.mark.slow]

PACKAGE = "@modelcontextprotocol/inspector"
SIX: Mapping[str, Mapping[str, object]] = {
    "add_memory": {"content": "The sea is salty.", "tags": ["sea"]},
    "execute_tool": {"tool": "everything.echo", "arguments": {"message": "hello"}},
    "find_tools": {"server": "everything", "query": "echo"},
    "forget_memory": {"ids": ["none"]},
    "llm_generate": {"prompt": "Once upon a time", "max_tokens": 4},
    "search_memory": {"query": "sea", "k": 1},
}
"""The tools, and arguments for each."""

ERAS = ("legacy", "modern")


class Inspector:
    """Runs Inspector's command line against servers of a session file, two at a time."""

    def __init__(self, folder: Path, servers: Mapping[str, object]) -> None:
        self._config = folder / "inspector.json"
        self._config.write_text(json.dumps({"mcpServers": servers}))
        self._turn = anyio.CapacityLimiter(2)

    async def list_strictly(self, server: str) -> None:
        listed = await self._ask(server, "tools/list", ["--strict"])
        assert {tool["name"] for tool in listed["tools"]} == SIX.keys()

    async def call(self, server: str, tool: str) -> None:
        pairs = [
            f"{key}={value if isinstance(value, str) else json.dumps(value)}"
            for key, value in SIX[tool].items()
        ]
        result = await self._ask(server, "tools/call", ["--tool-name", tool, "--tool-arg", *pairs])
        assert not result.get("isError"), (server, tool, result)
        assert result["content"], (server, tool)

    async def _ask(self, server: str, method: str, options: Sequence[str]) -> dict[str, Any]:
        arguments = ["--cli", "-q", "--config", str(self._config), "--server", server]
        asked = ["--method", method, *options, "--format", "json"]
        async with self._turn:
            done = await run_node(PACKAGE, [*arguments, *asked])
        assert done.returncode == 0, (server, method, options, done.stdout, done.stderr)
        result: dict[str, Any] = json.loads(done.stdout)["result"]
        return result


async def test_over_http_and_sse(tmp_path: Path) -> None:
    async with serving(write_config(tmp_path)) as url, anyio.create_task_group() as tasks:
        servers: dict[str, object] = {
            era: {"type": "streamable-http", "url": f"{url}/mcp", "protocolEra": era}
            for era in ERAS
        }
        servers["sse"] = {"type": "sse", "url": f"{url}/sse"}
        inspector = Inspector(tmp_path, servers)
        for server in servers:
            tasks.start_soon(inspector.list_strictly, server)
        for tool in SIX:
            for era in ERAS:
                tasks.start_soon(inspector.call, era, tool)
        tasks.start_soon(inspector.call, "sse", "find_tools")


async def test_over_stdio(tmp_path: Path) -> None:
    # Each call starts a server, so each tool is called in one era only.
    calls = {f"{tool}-{ERAS[i % 2]}": tool for i, tool in enumerate(SIX)}
    lists = [f"list-{era}" for era in ERAS]
    servers: dict[str, object] = {}
    for name in [*calls, *lists]:
        folder = tmp_path / name
        folder.mkdir()
        servers[name] = {
            "type": "stdio",
            "command": AIOS,
            "args": ["serve", "--config", str(write_config(folder))],
            "protocolEra": name.rpartition("-")[2],
        }
    inspector = Inspector(tmp_path, servers)
    async with anyio.create_task_group() as tasks:
        for name in lists:
            tasks.start_soon(inspector.list_strictly, name)
        for name, tool in calls.items():
            tasks.start_soon(inspector.call, name, tool)
