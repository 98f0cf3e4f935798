"""Pages, passthrough, and who a request speaks for."""

from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.server.context import ServerRequestContext
from mcp_types import PaginatedRequestParams, TextContent
from starlette.requests import Request

from aios_mcp.errors import NotFoundError, NotPermittedError
from aios_mcp.kernel import Grants
from aios_mcp.server.identity import AGENT_KEY, agent_of
from aios_mcp.server.pages import PAGE_SIZE, page
from backends.messages import JsonObject, ServerStatus, ToolResult, ToolSpec
from backends.protocols import OnProgress
from tests.kernel.kernels import agent, build
from tests.server.surfaces import known, memories, server


class ManyTools:
    """A server with many tools, some of them odd."""

    def __init__(self, count: int) -> None:
        self._names = [*(f"t{number:03}" for number in range(count)), "bad name", "x" * 130]

    async def list_tools(self, /) -> tuple[ToolSpec, ...]:
        schema = {"properties": {"a": {"type": "string", "x-extra": True}}}
        return tuple(
            ToolSpec(
                name=name,
                description="One of many.",
                input_schema=schema,
                output_schema={"type": "object", "required": ["z"]},
                annotations={"readOnlyHint": True},
            )
            for name in self._names
        )

    async def call(
        self, name: str, arguments: JsonObject, on_progress: OnProgress, errand: str = "", /
    ) -> ToolResult:
        return ToolResult(content=({"type": "text", "text": f"{name} {dict(arguments)}"},))

    def status(self) -> ServerStatus:
        return ServerStatus(state="ready", tools=len(self._names))


def test_pages_cover_a_list_once_and_in_order() -> None:
    everything = list(range(2 * PAGE_SIZE + 1))
    seen: list[int] = []
    cursor: str | None = None
    for _ in range(3):
        shown = page(everything, PaginatedRequestParams(cursor=cursor))
        seen += shown.entries
        cursor = shown.next_cursor
    assert seen == everything
    assert cursor is None


@pytest.mark.parametrize("cursor", ["", "x", "@@", "MTAw", "ZnJvbTo=", "ZnJvbTotMQ==", "é", "🙂"])
def test_a_cursor_of_another_make_is_refused(cursor: str) -> None:
    with pytest.raises(MCPError, match="unknown cursor"):
        page([1], PaginatedRequestParams(cursor=cursor))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_passthrough_publishes_permitted_and_chosen_tools_page_by_page(mode: str) -> None:
    ada = agent(grants=Grants(tools=(("many.*",),), deny=("many.t000",)))
    served = server(
        build(servers={"many": ManyTools(150), "other": ManyTools(1)}),
        agents=known(ada),
        expose="passthrough",
        exposed={"many": ["t*"], "other": ["*"]},
    )
    async with Client(served, mode=mode) as client:
        first = await client.list_tools()
        second = await client.list_tools(cursor=first.next_cursor)
        published = {tool.name: tool for tool in [*first.tools, *second.tools]}
        result = await client.call_tool("many__t001", {"a": "1"})
        denied = await client.call_tool("many__t000", {})
        with pytest.raises(MCPError, match="unknown tool"):
            await client.call_tool("nobody__t001", {})
    assert second.next_cursor is None
    assert [name for name in published if "__" in name] == [f"many__t{n:03}" for n in range(1, 150)]
    assert list(published) == sorted(published)
    tool = published["many__t001"]
    assert tool.input_schema["properties"] == {"a": {"type": "string", "x-extra": True}}
    assert tool.annotations is not None
    assert tool.annotations.read_only_hint is True
    [block] = result.content
    assert isinstance(block, TextContent)
    assert block.text == "t001 {'a': '1'}"
    assert denied.is_error


async def test_the_gateway_publishes_no_downstream_tool() -> None:
    served = server(exposed={"demo": ["*"]})
    async with Client(served) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        with pytest.raises(MCPError, match="unknown tool"):
            await client.call_tool("demo__echo", {})
    assert len(names) == 6


def _request(scope: dict[str, Any] | None) -> ServerRequestContext[Any, Any]:
    request = None if scope is None else Request({"type": "http", **scope})
    return ServerRequestContext(
        session=None,  # type: ignore[arg-type]
        lifespan_context=None,
        protocol_version="",
        method="",
        request=request,
    )


def test_a_request_speaks_for_whom_the_connection_says() -> None:
    agents = known(agent("ada"), agent("bob"))
    bob = agents.get("bob")
    assert agent_of(_request({AGENT_KEY: bob}), agents, "ada") is bob
    assert agent_of(_request(None), agents, "ada") is agents.get("ada")


@pytest.mark.parametrize("scope", [{}, {AGENT_KEY: "bob"}, {AGENT_KEY: None}])
def test_an_http_request_nobody_authenticated_is_no_agents(scope: dict[str, Any]) -> None:
    with pytest.raises(NotPermittedError):
        agent_of(_request(scope), known(), "ada")


def test_a_default_agent_that_is_not_configured_is_refused() -> None:
    with pytest.raises(NotFoundError):
        agent_of(_request(None), known(), "nobody")


async def test_a_call_of_a_missing_default_agent_is_an_error_result() -> None:
    served = server(build(memories=memories()), default_agent="nobody")
    async with Client(served) as client:
        result = await client.call_tool("add_memory", {"content": "x"})
        with pytest.raises(MCPError):
            await client.read_resource("aios://status")
    assert result.is_error
