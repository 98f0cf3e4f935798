from dataclasses import replace

import anyio
import pytest

from aios_mcp.errors import InvalidArgumentError, NotPermittedError
from aios_mcp.kernel import ArgumentRule, Grants
from aios_mcp.kernel.calls import FoundTool, ToolCall
from aios_mcp.kernel.tool_catalog import rank
from backends.errors import ToolServerTimeoutError, ToolServerUnavailableError
from backends.messages import JsonObject, ServerStatus, ToolProgress, ToolResult, ToolSpec
from backends.protocols import OnProgress
from backends.scripted import EchoTools, ListJournal
from tests.kernel.kernels import agent, build, no_progress
from tests.marks import virtual_time

ECHO = ToolCall(tool="demo.echo", arguments={"text": "hi"})


class DeadServer:
    """A tool server that is down."""

    async def list_tools(self, /) -> tuple[ToolSpec, ...]:
        raise ToolServerUnavailableError("down", retry_after_seconds=4.0)

    async def call(
        self, name: str, arguments: JsonObject, on_progress: OnProgress, errand: str = "", /
    ) -> ToolResult:
        raise ToolServerUnavailableError("down", retry_after_seconds=4.0)

    def status(self) -> ServerStatus:
        return ServerStatus(state="waiting")


def with_tools(*patterns: str, deny: tuple[str, ...] = ()) -> Grants:
    return Grants(tools=(patterns,), deny=deny)


async def test_a_tool_s_result_comes_back_unchanged_with_its_audit_id() -> None:
    journal = ListJournal()
    outcome = await build(journal=journal).execute_tool(agent(), ECHO, no_progress)
    assert outcome.result == ToolResult(content=({"type": "text", "text": "hi"},))
    [record] = journal.audit
    assert (record.request_id, record.op, record.target, record.outcome, record.place) == (
        outcome.audit_id,
        "execute_tool",
        "demo.echo",
        "ok",
        "tools:demo",
    )


async def test_the_audit_keeps_a_digest_of_the_arguments_and_not_the_arguments() -> None:
    journal = ListJournal()
    kernel = build(journal=journal)
    for text in ("secret", "secret", "other"):
        await kernel.execute_tool(agent(), replace(ECHO, arguments={"text": text}), no_progress)
    digests = [record.digest for record in journal.audit]
    assert digests[0] == digests[1] != digests[2]
    assert "secret" not in str(journal.audit)


@pytest.mark.parametrize(
    "tool", ["demo.absent", "nowhere.echo", "demo.wait"], ids=["tool", "server", "not granted"]
)
async def test_absent_and_forbidden_tools_read_the_same(tool: str) -> None:
    kernel = build()
    limited = agent(grants=with_tools("demo.echo", "demo.absent", "nowhere.*"))
    with pytest.raises(NotPermittedError) as refusal:
        await kernel.execute_tool(limited, ToolCall(tool=tool), no_progress)
    assert str(refusal.value) == (
        f"tool {tool!r} is not available to agent 'ada'; find_tools lists those that are"
    )


async def test_a_denied_tool_is_refused_whatever_is_granted_and_audited() -> None:
    journal = ListJournal()
    careful = agent(grants=with_tools("*", deny=("*.echo",)))
    with pytest.raises(NotPermittedError):
        await build(journal=journal).execute_tool(careful, ECHO, no_progress)
    assert [record.outcome for record in journal.audit] == ["not_permitted"]


async def test_a_tool_without_its_server_s_name_is_a_clear_error() -> None:
    with pytest.raises(InvalidArgumentError, match=r"server\.tool"):
        await build().execute_tool(agent(), ToolCall(tool="echo"), no_progress)


async def test_arguments_outside_their_rule_are_refused() -> None:
    rule = ArgumentRule(tool="demo.*", path="text", one_of=("hi", "ho"))
    bound = agent(grants=replace(with_tools("*"), arguments=(rule,)))
    await build().execute_tool(bound, ECHO, no_progress)
    with pytest.raises(NotPermittedError, match="with these arguments"):
        await build().execute_tool(bound, replace(ECHO, arguments={"text": "he"}), no_progress)


@virtual_time
async def test_progress_of_a_tool_reaches_the_caller() -> None:
    seen: list[ToolProgress] = []

    async def keep(progress: ToolProgress) -> None:
        seen.append(progress)

    call = ToolCall(tool="demo.wait", arguments={"seconds": 3})
    await build().execute_tool(agent(), call, keep)
    assert seen == [ToolProgress(0.0, 3.0), ToolProgress(3.0, 3.0)]


@virtual_time
async def test_a_tool_past_its_deadline_is_cut_and_its_slot_is_free() -> None:
    kernel = build()
    slow = ToolCall(tool="demo.wait", arguments={"seconds": 500}, deadline_seconds=2.0)
    with pytest.raises(ToolServerTimeoutError, match="did not end within 2 s"):
        await kernel.execute_tool(agent(), slow, no_progress)
    assert (await kernel.status(agent())).running == 0


@virtual_time
async def test_a_server_runs_no_more_calls_at_once_than_configured() -> None:
    kernel = build()
    start = anyio.current_time()
    async with anyio.create_task_group() as tg:
        for _ in range(4):
            call = ToolCall(tool="demo.wait", arguments={"seconds": 10})
            tg.start_soon(kernel.execute_tool, agent(), call, no_progress)
    assert anyio.current_time() - start == 20.0


async def test_the_same_idempotency_key_runs_a_tool_once() -> None:
    kernel = build()
    keyed = replace(ECHO, idempotency_key="k")
    first = await kernel.execute_tool(agent(), keyed, no_progress)
    second = await kernel.execute_tool(agent(), keyed, no_progress)
    assert second.result == first.result


async def test_find_tools_shows_permitted_tools_only() -> None:
    kernel = build(servers={"demo": EchoTools(), "other": EchoTools()})
    limited = agent(grants=with_tools("demo.echo", "other.*", deny=("*.wait",)))
    found = await kernel.find_tools(limited, None, None, 50)
    assert [tool.name for tool in found.tools] == ["demo.echo", "other.echo"]
    only = await kernel.find_tools(limited, None, "other", 50)
    assert [tool.name for tool in only.tools] == ["other.echo"]
    nothing = await kernel.find_tools(agent(grants=Grants()), None, None, 50)
    assert nothing.tools == ()


async def test_find_tools_names_servers_it_could_not_ask() -> None:
    kernel = build(servers={"demo": EchoTools(), "dead": DeadServer()})
    found = await kernel.find_tools(agent(), "echo", None, 50)
    assert [tool.name for tool in found.tools] == ["demo.echo"]
    assert found.unreachable == ("dead",)


async def test_a_server_that_is_down_says_when_to_try_again() -> None:
    kernel = build(servers={"dead": DeadServer()})
    with pytest.raises(ToolServerUnavailableError) as failure:
        await kernel.execute_tool(agent(), ToolCall(tool="dead.x"), no_progress)
    assert failure.value.retry_after_seconds == 4.0


def found(name: str, description: str) -> FoundTool:
    server, _, tool = name.partition(".")
    return FoundTool(name, server, ToolSpec(name=tool, description=description, input_schema={}))


def test_tools_are_ranked_by_the_words_of_the_query() -> None:
    tools = [
        found("fs.readFile", "Read the contents of a file."),
        found("fs.write_file", "Write a file."),
        found("web.search", "Search the web for pages."),
    ]
    names = [tool.name for tool in rank(tools, "read files")]
    assert names == ["fs.readFile", "fs.write_file"]
    assert [tool.name for tool in rank(tools, "searching pages")] == ["web.search"]
    assert rank(tools, "database") == []
