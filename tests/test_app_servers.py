"""The composition root with tool servers: what of the file reaches them."""

from pathlib import Path

import anyio

from aios_mcp.app import open_kernel
from aios_mcp.config import load_config
from aios_mcp.kernel.calls import ToolCall
from tests.backends.tool_servers.servers import ECHO, no_progress
from tests.marks import asyncio_only

pytestmark = asyncio_only


async def test_only_a_server_that_calls_back_is_told_an_errand(tmp_path: Path) -> None:
    path = tmp_path / "aios.toml"
    path.write_text(
        f"""
kernel = {{ data_dir = "data", cache_dir = "cache" }}
[servers.plain]
command = {list(ECHO)}
[servers.asks]
command = {list(ECHO)}
calls_back = true
"""
    )
    told: dict[str, object] = {}
    with anyio.fail_after(60):
        async with open_kernel(load_config(path).config, tmp_path) as app:
            for server in ("plain", "asks"):
                call = ToolCall(tool=f"{server}.errand")
                outcome = await app.kernel.execute_tool(app.agents.get("local"), call, no_progress)
                [block] = outcome.result.content
                told[server] = block["text"]
    assert told["plain"] == ""
    assert len(bytes.fromhex(str(told["asks"]))) == 16
