"""Restarts, back-off, negotiation and caching, in virtual time over a link in memory."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from backends.errors import (
    ToolNotFoundError,
    ToolServerTimeoutError,
    ToolServerUnavailableError,
)
from backends.tool_servers import McpToolServer, StdioServer
from backends.tool_servers.link import own_tasks
from backends.tool_servers.supervisor import back_off_seconds
from tests.backends.tool_servers.scripted_link import ScriptedServer
from tests.backends.tool_servers.servers import call, no_progress


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@asynccontextmanager
async def opened(downstream: ScriptedServer) -> AsyncGenerator[McpToolServer]:
    settings = StdioServer(
        command=("unused",), connect_deadline_seconds=10.0, call_deadline_seconds=60.0
    )
    async with own_tasks() as tasks:
        yield McpToolServer("s", settings, open_link=downstream.open_link, tasks=tasks)


async def fail_once(server: McpToolServer) -> float | None:
    """Call while the server is down; gives when to try again."""
    with pytest.raises(ToolServerUnavailableError) as failure:
        await call(server, "echo")
    return failure.value.retry_after_seconds


@given(failures=st.integers(2, 100), jitter=st.floats(0, 1, exclude_max=True))
def test_the_wait_grows_to_half_a_minute_and_never_beyond(failures: int, jitter: float) -> None:
    longest = min(0.5 * 2.0 ** (failures - 2), 30.0)
    assert longest / 2 <= back_off_seconds(failures, jitter) <= longest
    assert back_off_seconds(1, jitter) == 0.0


async def test_a_server_that_keeps_failing_is_left_alone_longer_each_time_then_given_up() -> None:
    downstream = ScriptedServer()
    downstream.refuses = "cannot be started"
    waits: list[float] = []
    async with opened(downstream) as server:
        while (retry_after := await fail_once(server)) is not None:
            waits.append(retry_after)
            await anyio.sleep(retry_after + 0.001)
        status = server.status()
    assert (status.state, status.last_failure) == ("failed", "cannot be started")
    assert len(downstream.opened) == 8
    assert waits[0] == 0.0
    assert waits[1:] == sorted(waits[1:])
    assert all(0.25 <= wait <= 16.0 for wait in waits[1:])


async def test_a_server_that_was_given_up_is_tried_again_after_five_minutes() -> None:
    downstream = ScriptedServer()
    downstream.refuses = "cannot be started"
    async with opened(downstream) as server:
        for _ in range(8):
            await fail_once(server)
            await anyio.sleep(30)
        downstream.refuses = ""
        assert await fail_once(server) is None
        await anyio.sleep(301)
        await call(server, "echo")
        assert server.status().state == "ready"


async def test_while_it_waits_calls_fail_without_a_new_attempt() -> None:
    downstream = ScriptedServer()
    downstream.refuses = "cannot be started"
    async with opened(downstream) as server:
        await fail_once(server)
        await fail_once(server)
        start = anyio.current_time()
        for _ in range(10):
            assert await fail_once(server)
        assert anyio.current_time() == start
        assert server.status().state == "waiting"
    assert len(downstream.opened) == 2


async def test_a_server_that_did_its_work_is_restarted_at_once_whenever_it_ends() -> None:
    downstream = ScriptedServer()
    async with opened(downstream) as server:
        for restarts in range(12):
            await call(server, "echo")
            assert (server.status().state, server.status().restarts) == ("ready", restarts)
            downstream.ends.set()
            await anyio.sleep(0.001)
            assert server.status().state == "idle"
    assert downstream.opened[-1] - downstream.opened[0] < 1


async def test_a_server_that_ends_before_it_worked_is_not() -> None:
    downstream = ScriptedServer()
    downstream.silent_at = {"tools/list"}
    async with opened(downstream) as server:
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fail_once, server)
                await anyio.sleep(0.1)
                downstream.ends.set()
            await anyio.sleep(0.001)
        assert server.status().state == "waiting"


async def test_silence_while_connecting_is_a_timeout() -> None:
    downstream = ScriptedServer()
    downstream.silent_at = {"server/discover", "initialize"}
    async with opened(downstream) as server:
        start = anyio.current_time()
        with pytest.raises(ToolServerTimeoutError, match="did not answer within 10 s"):
            await call(server, "echo")
        assert anyio.current_time() - start == 10
        assert server.status().last_failure == "did not answer within 10 s"


async def test_silence_while_listing_is_a_timeout_and_names_the_list() -> None:
    downstream = ScriptedServer()
    downstream.silent_at = {"tools/list"}
    async with opened(downstream) as server:
        with pytest.raises(ToolServerTimeoutError, match="the tool list of server 's'"):
            await server.list_tools()


async def test_a_server_that_answers_pings_is_kept_after_a_timeout() -> None:
    downstream = ScriptedServer()
    async with opened(downstream) as server:
        await server.list_tools()
        downstream.silent_at = {"tools/call"}
        with pytest.raises(ToolServerTimeoutError):
            await call(server, "echo")
        await anyio.sleep(20)
        assert (server.status().state, server.status().restarts) == ("ready", 0)
    assert downstream.asked[-1] == "ping"


async def test_a_server_that_answers_nothing_any_more_is_replaced() -> None:
    downstream = ScriptedServer()
    async with opened(downstream) as server:
        await server.list_tools()
        downstream.silent_at = {"tools/call", "ping"}
        with pytest.raises(ToolServerTimeoutError):
            await call(server, "echo")
        await anyio.sleep(11)
        assert server.status().last_failure == "has stopped answering"
        downstream.silent_at = set()
        await call(server, "echo")
        assert server.status().restarts == 1


async def test_a_short_deadline_of_one_caller_raises_no_doubt() -> None:
    downstream = ScriptedServer()
    async with opened(downstream) as server:
        await server.list_tools()
        downstream.silent_at = {"tools/call", "ping"}
        with anyio.move_on_after(1):
            await call(server, "echo")
        await anyio.sleep(100)
        assert server.status().state == "ready"
    assert "ping" not in downstream.asked


async def test_a_lost_session_is_renewed_and_the_call_sent_again_once() -> None:
    downstream = ScriptedServer()
    async with opened(downstream) as server:
        downstream.forgets = 1
        await call(server, "echo")
        assert server.status().restarts == 1
        downstream.forgets = 2
        with pytest.raises(ToolServerUnavailableError, match="forgotten the session"):
            await call(server, "echo")


async def test_what_is_known_of_a_server_s_era_is_used_at_its_restart() -> None:
    downstream = ScriptedServer()
    async with opened(downstream) as server:
        await call(server, "echo")
        downstream.ends.set()
        await anyio.sleep(0.001)
        await call(server, "echo")
    assert downstream.asked.count("server/discover") == 1
    assert downstream.asked.count("initialize") == 2
    initialized = [m for m in downstream.sent if m["method"] == "notifications/initialized"]
    assert len(initialized) == 2


async def test_a_server_of_the_newer_era_is_never_sent_a_handshake() -> None:
    downstream = ScriptedServer(modern=True)
    async with opened(downstream) as server:
        await call(server, "echo")
    assert downstream.asked[0] == "server/discover"
    assert "initialize" not in downstream.asked
    assert downstream.sent == []


async def test_a_server_that_was_slow_and_refuses_the_handshake_is_asked_again() -> None:
    downstream = ScriptedServer(modern=True)
    downstream.silent_at = {"server/discover"}
    async with opened(downstream) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(call, server, "echo")
        await anyio.sleep(4.9)
        downstream.silent_at = set()
        await anyio.sleep(1)
        assert server.status().state == "ready"


async def test_the_list_is_kept_until_the_server_says_it_changed() -> None:
    downstream = ScriptedServer()
    async with opened(downstream) as server:
        for _ in range(3):
            await server.list_tools()
        assert downstream.asked.count("tools/list") == 1
        downstream.tools = ["zoo", "art"]
        await downstream.announce("notifications/tools/list_changed")
        assert [spec.name for spec in await server.list_tools()] == ["art", "zoo"]
        with pytest.raises(ToolNotFoundError):
            await call(server, "echo")


@pytest.mark.parametrize(("ttl_ms", "requests"), [(0, 3), (5_000, 2), (60_000, 1)])
async def test_the_list_is_kept_as_long_as_the_server_allows(ttl_ms: int, requests: int) -> None:
    downstream = ScriptedServer()
    downstream.ttl_ms = ttl_ms
    async with opened(downstream) as server:
        for pause in (0, 0, 6):
            await anyio.sleep(pause)
            await server.list_tools()
    assert downstream.asked.count("tools/list") == requests


async def test_the_list_is_read_anew_after_a_restart() -> None:
    downstream = ScriptedServer()
    async with opened(downstream) as server:
        await server.list_tools()
        downstream.ends.set()
        await anyio.sleep(0.001)
        downstream.tools = ["other"]
        assert [spec.name for spec in await server.list_tools()] == ["other"]


async def test_callers_that_list_at_once_share_one_request() -> None:
    downstream = ScriptedServer()
    async with opened(downstream) as server, anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(server.list_tools)
    assert downstream.asked.count("tools/list") == 1


async def test_changes_are_subscribed_to_in_the_newer_era() -> None:
    downstream = ScriptedServer(modern=True)
    downstream.silent_at = {"subscriptions/listen"}
    async with opened(downstream) as server:
        await server.list_tools()
        await anyio.sleep(100)
        assert downstream.asked.count("subscriptions/listen") == 1


@pytest.mark.parametrize("modern", [True, False])
async def test_a_server_is_told_an_errand_beside_what_its_era_says(modern: bool) -> None:
    downstream = ScriptedServer(modern=modern)
    async with opened(downstream) as server:
        await server.call("echo", {}, no_progress, "token")
        await server.call("echo", {}, no_progress)
    with_errand, without = downstream.told
    assert with_errand["aios-mcp/errand"] == "token"
    assert with_errand.keys() - without.keys() == {"aios-mcp/errand"}
    assert ("io.modelcontextprotocol/protocolVersion" in without) is modern


async def test_a_call_that_is_sent_again_is_told_the_same_errand() -> None:
    downstream = ScriptedServer()
    downstream.forgets = 1
    async with opened(downstream) as server:
        await server.call("echo", {}, no_progress, "token")
    assert [meta["aios-mcp/errand"] for meta in downstream.told] == ["token", "token"]
