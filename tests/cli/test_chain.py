"""One aios-mcp behind another: the outer one's gate in front of the inner one's."""

import json
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp_types import TextContent

from tests.conformance.programs import serving
from tests.marks import asyncio_only

pytestmark = asyncio_only

SERVE = [sys.executable, "-m", "aios_mcp", "serve", "--config"]


def write_config(folder: Path, more: str) -> Path:
    folder.mkdir()
    path = folder / "aios.toml"
    path.write_text(
        f"""
[kernel]
data_dir = {json.dumps(str(folder / "data"))}
cache_dir = {json.dumps(str(folder / "cache"))}

[memory]
embedder = "static"

[agents.local]
tools = ["inner.*"]
deny = ["inner.forget_*"]
memory = {{ read = ["self/*"], write = ["self/*"] }}
llm = {{ tiers = ["balanced"] }}
{more}
"""
    )
    return path


def keep_secret(path: Path, secret: str) -> None:
    path.write_text(secret + "\n")
    path.chmod(0o600)


def host(config: Path) -> Client:
    """A client that starts the outer one, as a host does."""
    command, *arguments = [*SERVE, str(config)]
    return Client(StdioServerParameters(command=command, args=arguments), read_timeout_seconds=60)


async def call_inner(client: Client, tool: str, **arguments: object) -> dict[str, Any]:
    result = await client.call_tool(
        "execute_tool", {"tool": f"inner.{tool}", "arguments": arguments}
    )
    structured: dict[str, Any] = result.structured_content or {}
    return structured


async def use_the_inner_one(client: Client) -> None:
    found = await client.call_tool("find_tools", {"query": "search memory"})
    assert isinstance(found.content[0], TextContent)
    assert "inner.search_memory" in found.content[0].text
    assert "inner.forget_memory" not in found.content[0].text

    await call_inner(client, "add_memory", content="The inner kernel keeps this.")
    [hit] = (await call_inner(client, "search_memory", query="inner kernel"))["hits"]
    assert hit["content"] == "The inner kernel keeps this."
    outer = await client.call_tool("search_memory", {"query": "inner kernel"})
    assert outer.structured_content == {"hits": []}

    told: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    answer = await client.call_tool(
        "execute_tool",
        {"tool": "inner.llm_generate", "arguments": {"prompt": "What is aios-mcp?"}},
        progress_callback=note,
    )
    assert answer.structured_content is not None
    assert answer.structured_content["text"].startswith("aios-mcp is")
    assert any("aios-mcp is" in message for message in told)
    assert answer.meta is not None
    assert "audit_id" in answer.meta

    refused = await call_inner(client, "add_memory", content="x", namespace="team")
    assert refused["error"]["code"] == "not_permitted"
    refused = await call_inner(client, "forget_memory", ids=[hit["id"]])
    assert "agent 'local'" in refused["error"]["message"]
    assert len((await call_inner(client, "search_memory", query="inner kernel"))["hits"]) == 1


async def test_over_stdio(tmp_path: Path) -> None:
    inner = write_config(tmp_path / "inner", "")
    command = json.dumps([*SERVE, str(inner)])
    outer = write_config(tmp_path / "outer", f"[servers.inner]\ncommand = {command}")
    with anyio.fail_after(120):
        async with host(outer) as client:
            await use_the_inner_one(client)


async def test_over_http_with_a_token(tmp_path: Path) -> None:
    inner = write_config(
        tmp_path / "inner",
        """
[agents.remote]
token = "file:remote.token"
memory = { read = ["self/*"], write = ["self/*"] }
llm = { tiers = ["balanced"] }
""",
    )
    keep_secret(inner.parent / "remote.token", "remote-agents-secret")
    with anyio.fail_after(120):
        async with serving(inner) as url:
            outer = write_config(
                tmp_path / "outer",
                f"""
[servers.inner]
url = "{url}/mcp"
headers = {{ Authorization = "file:inner.header" }}
""",
            )
            keep_secret(outer.parent / "inner.header", "Bearer remote-agents-secret")
            async with host(outer) as client:
                await use_the_inner_one(client)
