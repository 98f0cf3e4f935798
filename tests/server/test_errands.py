"""What a request says of the call on whose behalf it is made, in both protocol eras."""

from typing import Any

import anyio
import pytest
from mcp import Client
from mcp_types import CallToolResult

from aios_mcp.kernel import Kernel
from tests.kernel.errands import Asker, Work
from tests.kernel.kernels import agent, build
from tests.server.surfaces import known, memories, server

ASK = {"tool": "asker.ask"}


def given(errand: object) -> Any:
    return {"aios-mcp/errand": errand}


def kernel_of(work: Work) -> Kernel:
    return build(servers={"asker": Asker(work)}, calling_back=["asker"], memories=memories())


def as_bob(kernel: Kernel, mode: str) -> Client:
    surface = server(
        kernel,
        agents=known(agent("ada"), agent("bob")),
        default_agent="bob",
        expose="passthrough",
        exposed={"asker": ["*"]},
    )
    return Client(surface, mode=mode)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("name", ["execute_tool", "asker__ask"])
async def test_calls_that_go_round_in_a_circle_end_in_a_typed_error(mode: str, name: str) -> None:
    depth = 0
    results: list[CallToolResult] = []

    async def ask(token: str) -> None:
        nonlocal depth
        depth += 1
        arguments = ASK if name == "execute_tool" else {}
        results.append(await client.call_tool(name, arguments, meta=given(token)))

    kernel = kernel_of(ask)
    with anyio.fail_after(10):
        async with as_bob(kernel, mode) as client:
            await client.call_tool("execute_tool", ASK)
    assert depth == 4
    assert [each.is_error for each in results] == [True, False, False, False]
    content: Any = results[0].structured_content
    error = content["error"]
    assert (error["code"], error["retryable"]) == ("not_permitted", False)
    assert error["message"].startswith("calls are nested more than 4 deep")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    "errand",
    ["", "x", "0" * 100_000, 7, None, True, ["x"], {"a": "b"}],
    ids=lambda each: str(each)[:9],
)
async def test_an_errand_that_is_none_changes_nothing(mode: str, errand: object) -> None:
    async def refuse(token: str) -> None:
        raise AssertionError("not expected")

    calls: list[tuple[str, dict[str, Any]]] = [
        ("llm_generate", {"prompt": "a b"}),
        ("find_tools", {}),
        ("add_memory", {"content": "tea"}),
        ("search_memory", {"query": "tea"}),
    ]
    with anyio.fail_after(10):
        async with as_bob(kernel_of(refuse), mode) as client:
            for name, arguments in calls:
                result = await client.call_tool(name, arguments, meta=given(errand))
                assert not result.is_error, result


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_every_syscall_can_be_made_for_another_call(mode: str) -> None:
    answers: list[CallToolResult] = []

    async def ask(token: str) -> None:
        for name, arguments in (
            ("llm_generate", {"prompt": "a b"}),
            ("find_tools", {}),
            ("add_memory", {"content": "tea"}),
            ("search_memory", {"query": "tea"}),
            ("forget_memory", {"ids": ["m1"]}),
        ):
            answers.append(await client.call_tool(name, arguments, meta=given(token)))

    with anyio.fail_after(10):
        async with as_bob(kernel_of(ask), mode) as client:
            result = await client.call_tool("execute_tool", ASK)
    assert not result.is_error
    assert [each.is_error for each in answers] == [False] * 5


@pytest.mark.parametrize("priority", ["urgent", "normal", "batch"])
async def test_a_tool_call_is_as_urgent_as_its_priority_says(priority: str) -> None:
    lanes: list[str] = []

    async def look(token: str) -> None:
        del token
        lanes.extend(call.lane for call in (await kernel.queue(agent("bob"))).calls)

    kernel = kernel_of(look)
    with anyio.fail_after(10):
        async with as_bob(kernel, "auto") as client:
            await client.call_tool("execute_tool", {**ASK, "priority": priority})
    assert lanes == [priority]
