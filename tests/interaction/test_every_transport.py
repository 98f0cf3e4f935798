"""What a client sees, the same over every transport and in both protocol eras."""

import json
from collections.abc import Awaitable
from typing import Any, cast

import anyio
import pytest
from mcp import Client, MCPError
from mcp_types import CallToolResult, TextContent

from tests.interaction.conftest import Connect

LONG = "word " * 900
"""Eighteen seconds of work for the slow core."""


def text_of(result: CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


def content_of(result: CallToolResult) -> dict[str, Any]:
    content: Any = result.structured_content
    assert isinstance(content, dict)
    return cast("dict[str, Any]", content)


def data_of(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, result
    return content_of(result)


def error_of(result: CallToolResult) -> dict[str, Any]:
    assert result.is_error, result
    error: dict[str, Any] = content_of(result)["error"]
    return error


async def test_a_client_sees_six_tools_in_order(connect: Connect) -> None:
    with anyio.fail_after(20):
        async with connect() as client:
            listed = await client.list_tools()
    assert [tool.name for tool in listed.tools] == [
        "add_memory",
        "execute_tool",
        "find_tools",
        "forget_memory",
        "llm_generate",
        "search_memory",
    ]
    assert listed.next_cursor is None


async def test_a_generation_answers_and_streams_its_text_as_progress(connect: Connect) -> None:
    said = "the quick brown fox jumps "
    told: list[tuple[float, str | None]] = []
    all_told = anyio.Event()

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))
        if message == said:
            all_told.set()

    with anyio.fail_after(20):
        async with connect() as client:
            result = await client.call_tool(
                "llm_generate", {"prompt": said}, progress_callback=tell
            )
            await all_told.wait()  # clients hand progress over in tasks of their own
    assert text_of(result) == said
    answer = data_of(result)
    assert answer["text"] == said
    assert answer["usage"] == {
        "input_tokens": 5,
        "cached_tokens": 0,
        "output_tokens": 5,
        "cost_usd": 0.0,
    }
    assert told[0][1] == "the "
    numbers = [progress for progress, _ in told]
    assert numbers == sorted(set(numbers))


async def test_wrong_arguments_are_all_named_at_once(connect: Connect) -> None:
    with anyio.fail_after(20):
        async with connect() as client:
            result = await client.call_tool("llm_generate", {"promt": "x", "max_tokens": "7"})
    error = error_of(result)
    assert (error["code"], error["retryable"]) == ("invalid_argument", False)
    assert "unknown argument 'promt' (did you mean 'prompt'?)" in error["message"]
    assert "'max_tokens' must be an integer, got the string \"7\"" in error["message"]
    assert text_of(result) == f"invalid_argument: {error['message']}"


async def test_a_tool_is_found_and_run(connect: Connect) -> None:
    with anyio.fail_after(20):
        async with connect() as client:
            found = data_of(await client.call_tool("find_tools", {"query": "give text back"}))
            [tool] = found["tools"]
            result = await client.call_tool(
                "execute_tool", {"tool": tool["name"], "arguments": {"text": "héllo"}}
            )
            audit_id = (result.meta or {})["audit_id"]
            record = await client.read_resource(f"aios://audit/{audit_id}")
    assert tool["name"] == "demo.echo"
    assert text_of(result) == "héllo"
    assert '"target": "demo.echo"' in str(record.contents[0])


async def test_a_memory_is_found_again(connect: Connect) -> None:
    with anyio.fail_after(20):
        async with connect() as client:
            added = data_of(
                await client.call_tool("add_memory", {"content": "backups run on fridays"})
            )
            hits = data_of(await client.call_tool("search_memory", {"query": "backups"}))["hits"]
            prompt = await client.get_prompt("recall", {"topic": "backups"})
    assert [hit["id"] for hit in hits] == [added["id"]]
    assert hits[0]["source"]["agent"] == "ada"
    assert '"content": "backups run on fridays"' in str(prompt.messages[0].content)


async def test_what_is_denied_reads_like_what_is_not_there(connect: Connect) -> None:
    with anyio.fail_after(20):
        async with connect() as client:
            errors = [
                error_of(await client.call_tool("execute_tool", {"tool": f"demo.{name}"}))
                for name in ("wait", "gone")
            ]
    assert [error["code"] for error in errors] == ["not_permitted", "not_permitted"]
    assert errors[0]["message"].replace("wait", "gone") == errors[1]["message"]


async def test_misuse_is_a_protocol_error(connect: Connect) -> None:
    uri = "aios://memory/nope"
    with anyio.fail_after(20):
        async with connect() as client:
            cases: list[tuple[Awaitable[object], object]] = [
                (client.call_tool("nope", {}), None),
                (client.list_tools(cursor="nope"), None),
                (client.get_prompt("nope"), None),
                (client.get_prompt("recall"), None),
                (client.read_resource(uri), {"uri": uri}),
            ]
            for misuse, data in cases:
                with pytest.raises(MCPError) as refusal:
                    await misuse
                assert (refusal.value.error.code, refusal.value.error.data) == (-32602, data)


async def test_cancelling_frees_the_slot_and_settles_the_budget(connect: Connect) -> None:
    """The one slot is taken and so is most of the budget, until the call is cancelled."""
    endless = {"prompt": LONG, "max_tokens": 1000}
    running = anyio.Event()

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        running.set()

    async def run_endless(client: Client) -> None:
        await client.call_tool("llm_generate", endless, progress_callback=tell)

    with anyio.fail_after(30):
        async with connect() as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run_endless, client)
                await running.wait()
                # It waits for what the first one may give back, but not for longer than it may.
                refused = await client.call_tool("llm_generate", endless | {"deadline_ms": 200})
                assert error_of(refused)["code"] == "budget_exceeded"
                tasks.cancel_scope.cancel()
            answer = await client.call_tool("llm_generate", {"prompt": "short and new"})
            usage = await client.read_resource("aios://usage/me")
    assert text_of(answer) == "short and new "
    tokens = json.loads(usage.contents[0].model_dump()["text"])["tokens"]
    # The cancelled call paid for its prompt and what it had said, not for its whole hold.
    assert 900 < tokens < 3000


async def test_one_agent_does_not_see_anothers_memories(connect: Connect, transport: str) -> None:
    if transport == "stdio":
        pytest.skip("a stdio server speaks for one agent")
    with anyio.fail_after(20):
        async with connect("ada") as ada, connect("bob") as bob:
            secret = data_of(await ada.call_tool("add_memory", {"content": "my pin is 1234"}))
            hits = data_of(await bob.call_tool("search_memory", {"query": "pin"}))["hits"]
            by_id = await bob.call_tool("search_memory", {"id": secret["id"]})
            with pytest.raises(MCPError):
                await bob.read_resource(f"aios://memory/{secret['id']}")
            shared = {"content": "the pin board is free", "namespace": "shared"}
            await ada.call_tool("add_memory", shared)
            common = data_of(await bob.call_tool("search_memory", {"query": "pin"}))["hits"]
    assert hits == []
    assert error_of(by_id)["code"] == "not_found"
    assert [hit["namespace"] for hit in common] == ["shared"]
