"""The reference servers of the protocol, which are written in TypeScript."""

from pathlib import Path

import anyio
import pytest

from backends.messages import ToolProgress
from backends.tool_servers import McpToolServer, StdioServer, open_tool_server
from tests.backends.tool_servers.servers import call, json_of, no_progress, text_of
from tests.node_tools import NODE, script

pytestmark = pytest.mark.node


def settings(name: str, *arguments: str, **env: str) -> StdioServer:
    package = script(f"@modelcontextprotocol/server-{name}")
    return StdioServer(command=(NODE, package, *arguments), env=env)


async def names(server: McpToolServer) -> set[str]:
    return {spec.name for spec in await server.list_tools()}


async def test_filesystem(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello \u4e16")
    with anyio.fail_after(40):
        async with open_tool_server("fs", settings("filesystem", str(tmp_path))) as server:
            assert {"read_text_file", "write_file", "list_directory"} <= await names(server)
            read = await call(server, "read_text_file", path=str(tmp_path / "note.txt"))
            denied = await call(server, "read_text_file", path="/etc/passwd")
            invalid = await call(server, "read_text_file", pat="x")
            [spec] = [each for each in await server.list_tools() if each.name == "read_text_file"]
    assert read.content == ({"type": "text", "text": "hello \u4e16"},)
    assert read.structured == {"content": "hello \u4e16"}
    assert denied.is_error
    assert invalid.is_error
    assert spec.annotations is not None
    assert spec.annotations["readOnlyHint"] is True
    assert spec.output_schema is not None


async def test_memory(tmp_path: Path) -> None:
    where = settings("memory", MEMORY_FILE_PATH=str(tmp_path / "graph.jsonl"))
    entity = {"name": "Ada", "entityType": "person", "observations": ["wrote the first program"]}
    with anyio.fail_after(40):
        async with open_tool_server("memory", where) as server:
            await call(server, "create_entities", entities=[entity])
        async with open_tool_server("memory", where) as server:
            graph = await json_of(server, "read_graph")
    assert graph["entities"] == [entity]


async def test_everything() -> None:
    seen: list[ToolProgress] = []

    async def keep(progress: ToolProgress) -> None:
        seen.append(progress)

    with anyio.fail_after(40):
        async with open_tool_server("every", settings("everything", "stdio")) as server:
            assert await text_of(server, "echo", message="hi") == "Echo: hi"
            long = {"duration": 0.2, "steps": 4}
            await server.call("trigger-long-running-operation", long, keep)
            image = await call(server, "get-tiny-image")
            structured = await call(server, "get-structured-content", location="Chicago")
            tools = await names(server)
    assert seen == [ToolProgress(float(step), 4.0) for step in range(1, 5)]
    assert [block["type"] for block in image.content] == ["text", "image", "text"]
    assert isinstance(structured.structured, dict)
    assert "simulate-research-query" not in tools


async def test_a_long_operation_stops_when_it_is_cancelled() -> None:
    started = anyio.Event()

    async def note(_: ToolProgress) -> None:
        started.set()

    with anyio.fail_after(40):
        async with open_tool_server("every", settings("everything", "stdio")) as server:
            async with anyio.create_task_group() as tasks:
                long = {"duration": 600, "steps": 12_000}
                tasks.start_soon(server.call, "trigger-long-running-operation", long, note)
                await started.wait()
                tasks.cancel_scope.cancel()
            [block] = (await server.call("echo", {"message": "hi"}, no_progress)).content
    assert block["text"] == "Echo: hi"
