"""Contract of `ToolServer`: every implementation passes these tests."""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import pytest

from backends.errors import ToolNotFoundError
from backends.messages import ToolProgress, ToolResult
from backends.protocols import ToolServer
from backends.scripted import EchoTools
from backends.tool_servers import HttpServer, StdioServer, open_tool_server
from tests.backends.tool_servers.servers import ECHO, no_progress, running_over_http

Opener = Callable[[str], AbstractAsyncContextManager[ToolServer]]


@asynccontextmanager
async def scripted(url: str) -> AsyncGenerator[ToolServer]:
    del url
    yield EchoTools()


@asynccontextmanager
async def over_stdio(url: str) -> AsyncGenerator[ToolServer]:
    del url
    async with open_tool_server("echo", StdioServer(command=ECHO)) as server:
        yield server


@asynccontextmanager
async def over_http(url: str) -> AsyncGenerator[ToolServer]:
    async with open_tool_server("echo", HttpServer(url=f"{url}/mcp")) as server:
        yield server


@asynccontextmanager
async def over_sse(url: str) -> AsyncGenerator[ToolServer]:
    async with open_tool_server("echo", HttpServer(url=f"{url}/sse", transport="sse")) as server:
        yield server


# In real time, because a virtual clock does not wait for other processes. The HTTP client leaves
# its generators to the garbage collector, of which trio complains; stdio on trio is tested with
# the hostile server, which starts faster.
pytestmark = pytest.mark.parametrize(
    ("opener", "anyio_backend"),
    [
        (scripted, "asyncio"),
        (scripted, "trio"),
        (over_stdio, "asyncio"),
        (over_http, "asyncio"),
        (over_sse, "asyncio"),
    ],
    indirect=["anyio_backend"],
)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> object:
    found: object = request.param
    return found


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with running_over_http() as (_, found):
        yield found


async def test_tools_are_listed_by_name_with_their_schemas(opener: Opener, url: str) -> None:
    with anyio.fail_after(30):
        async with opener(url) as server:
            specs = await server.list_tools()
    names = [spec.name for spec in specs]
    assert names == sorted(names)
    [echo] = [spec for spec in specs if spec.name == "echo"]
    assert echo.description == "Give the text back."
    assert echo.input_schema["type"] == "object"
    properties = echo.input_schema["properties"]
    assert isinstance(properties, dict)
    assert properties["text"]["type"] == "string"


async def test_a_result_comes_back_in_wire_form(opener: Opener, url: str) -> None:
    with anyio.fail_after(30):
        async with opener(url) as server:
            result = await server.call("echo", {"text": "hi \u00e9\u4e16"}, no_progress)
    assert result == ToolResult(content=({"type": "text", "text": "hi \u00e9\u4e16"},))


async def test_progress_comes_in_order_before_the_result(opener: Opener, url: str) -> None:
    seen: list[ToolProgress] = []

    async def keep(progress: ToolProgress) -> None:
        seen.append(progress)

    with anyio.fail_after(30):
        async with opener(url) as server:
            await server.call("wait", {"seconds": 0.01}, keep)
    assert seen == [ToolProgress(0.0, 0.01), ToolProgress(0.01, 0.01)]


async def test_a_tool_that_is_not_there_is_an_error(opener: Opener, url: str) -> None:
    with anyio.fail_after(30):
        async with opener(url) as server:
            with pytest.raises(ToolNotFoundError):
                await server.call("absent", {}, no_progress)


async def test_calls_at_once_get_their_own_answers_and_slow_ones_hold_nobody_up(
    opener: Opener, url: str
) -> None:
    answers: dict[str, str] = {}

    async def echo(server: ToolServer, text: str) -> None:
        [block] = (await server.call("echo", {"text": text}, no_progress)).content
        answers[text] = str(block["text"])

    with anyio.fail_after(30):
        async with opener(url) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(server.call, "wait", {"seconds": 600}, no_progress)
            async with anyio.create_task_group() as quick:
                for number in range(20):
                    quick.start_soon(echo, server, str(number))
            tasks.cancel_scope.cancel()
    assert answers == {str(number): str(number) for number in range(20)}


async def test_a_cancelled_call_ends_at_once_and_the_next_one_works(
    opener: Opener, url: str
) -> None:
    with anyio.fail_after(30):
        async with opener(url) as server:
            started = anyio.Event()

            async def note(_: ToolProgress) -> None:
                started.set()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.call, "wait", {"seconds": 600}, note)
                await started.wait()
                tasks.cancel_scope.cancel()
            result = await server.call("echo", {"text": "next"}, no_progress)
    assert result.content == ({"type": "text", "text": "next"},)


async def test_a_server_that_was_used_says_how_many_tools_it_has(opener: Opener, url: str) -> None:
    with anyio.fail_after(30):
        async with opener(url) as server:
            specs = await server.list_tools()
            status = server.status()
    assert (status.state, status.tools, status.restarts) == ("ready", len(specs), 0)
