"""What a broken or hostile stdio server can do to its callers: nothing that outlives the call."""

import json
import logging
import os
import signal

import anyio
import pytest

from backends.errors import (
    OutputTooLargeError,
    ToolNotFoundError,
    ToolServerTimeoutError,
    ToolServerUnavailableError,
)
from backends.messages import ToolProgress
from backends.tool_servers import McpToolServer, StdioServer, open_tool_server
from tests.backends.tool_servers.hostile_server import RICH
from tests.backends.tool_servers.servers import (
    call,
    json_of,
    no_progress,
    open_hostile,
    text_of,
    until_gone,
)
from tests.marks import asyncio_only


async def assert_sound(server: McpToolServer, *, restarts: int = 0) -> None:
    assert await text_of(server, "echo", text="sound") == "sound"
    assert (server.status().state, server.status().restarts) == ("ready", restarts)


async def test_content_of_every_kind_comes_back_unchanged() -> None:
    async with open_hostile() as server:
        result = await call(server, "rich")
    assert json.loads(json.dumps(list(result.content))) == RICH["content"]
    assert result.structured == RICH["structuredContent"]
    assert result.is_error is False


async def test_all_pages_are_listed_sorted_without_what_cannot_be_called() -> None:
    async with open_hostile() as server:
        specs = await server.list_tools()
    names = [spec.name for spec in specs]
    assert names == sorted(names)
    assert {"echo", "cancellations"} <= set(names)
    assert "legacy_task" not in names
    [rich] = [spec for spec in specs if spec.name == "rich"]
    assert (rich.title, rich.description) == ("Rich", "Everything there is.")
    assert rich.input_schema == {"type": "object", "x-kept": [1]}
    assert rich.output_schema == {"type": "object"}
    assert rich.annotations == {"readOnlyHint": True, "custom": 1}


@pytest.mark.parametrize(
    ("tool", "answer"),
    [
        ("bad_utf8", "a\ufffd\ufffdb"),
        ("surrogate", "a\ufffdb"),
        ("unknown_ids", "right"),
        ("duplicate", "first"),
        ("garbage", "clean"),
        ("batch", "two"),
        ("flood", "quiet"),
        ("crowded", "done"),
    ],
)
async def test_what_can_be_made_sense_of_is_answered(tool: str, answer: str) -> None:
    async with open_hostile() as server:
        [block] = (await call(server, tool)).content
        assert block["text"] == answer
        json.dumps(block, ensure_ascii=False).encode()
        await assert_sound(server)


@pytest.mark.parametrize("tool", ["deep", "nested", "nan"])
async def test_an_answer_that_cannot_be_read_is_an_error_at_once(tool: str) -> None:
    async with open_hostile() as server:
        result = await call(server, tool)
        assert result.is_error
        assert "cannot be read" in str(result.content[0]["text"])
        await assert_sound(server)


async def test_a_call_that_is_never_answered_ends_at_its_deadline_and_hurts_nobody_else() -> None:
    async with open_hostile(call_deadline_seconds=0.5) as server:
        await assert_sound(server)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(assert_sound, server)
            with pytest.raises(ToolServerTimeoutError, match=r"'silent'.*within 0\.5 s"):
                await call(server, "silent")
        await assert_sound(server)


@pytest.mark.parametrize("tool", ["huge", "huge_id_last"])
@pytest.mark.parametrize("size", [2_000, 20_000_000])
async def test_a_result_above_the_cap_is_an_error_with_its_size(tool: str, size: int) -> None:
    async with open_hostile(max_result_bytes=1024) as server:
        async with anyio.create_task_group() as tasks:
            # Another open request, so that the id in the message has to be found.
            tasks.start_soon(call, server, "silent")
            with pytest.raises(OutputTooLargeError) as refusal:
                await call(server, tool, size=size)
            assert size < refusal.value.size_bytes < size + 200
            assert refusal.value.limit_bytes == 1024
            tasks.cancel_scope.cancel()
        await assert_sound(server)


async def test_a_result_below_the_cap_is_given_whole() -> None:
    async with open_hostile(max_result_bytes=4_000_000) as server:
        assert len(await text_of(server, "huge", size=3_900_000)) == 3_900_000


async def test_arguments_larger_than_a_pipe_arrive_whole_and_in_order() -> None:
    async def echo(server: McpToolServer, letter: str) -> None:
        assert await text_of(server, "echo", text=letter * 500_000) == letter * 500_000

    async with open_hostile() as server, anyio.create_task_group() as tasks:
        for letter in "abcd":
            tasks.start_soon(echo, server, letter)


async def test_a_huge_message_that_answers_nothing_is_passed_over() -> None:
    async with open_hostile() as server:
        assert await text_of(server, "huge_notification", size=20_000_000) == "after"


async def test_a_message_without_an_end_ends_the_server_not_the_kernel() -> None:
    async with open_hostile(call_deadline_seconds=40.0) as server:
        with pytest.raises(ToolServerUnavailableError, match="message without an end"):
            await call(server, "endless")
        await assert_sound(server, restarts=1)


async def test_a_slow_caller_does_not_hold_up_the_others() -> None:
    seen: list[float] = []

    async def slow(progress: ToolProgress) -> None:
        seen.append(progress.progress)
        await assert_sound(server)

    async with open_hostile() as server:
        await assert_sound(server)
        await server.call("crowded", {}, slow)
    assert seen == sorted(seen)
    assert 0 < len(seen) < 10_000
    assert seen[-1] == 9_999


async def test_a_flood_of_garbage_does_not_starve_other_servers() -> None:
    async with open_hostile() as noisy, open_hostile() as quiet:
        assert await text_of(noisy, "babbles") == "on and on"
        for _ in range(20):
            await assert_sound(quiet)


async def test_requests_of_a_server_are_refused_and_its_pings_answered() -> None:
    async with open_hostile() as server:
        refusal, pong = await json_of(server, "asks")
    assert (refusal["id"], refusal["error"]["code"]) == ("q", -32601)
    assert (pong["id"], pong["result"]) == (7, {})


async def test_only_harmless_variables_and_the_configured_ones_are_handed_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIOS_TEST_SECRET", "hunter2")
    async with open_hostile(env={"CONFIGURED": "yes"}) as server:
        environment = await json_of(server, "environment")
    assert "AIOS_TEST_SECRET" not in environment
    assert environment["CONFIGURED"] == "yes"
    assert environment["PATH"] == os.environ["PATH"]
    allowed = {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "CONFIGURED", "LC_CTYPE"}
    assert set(environment) <= allowed


async def test_an_error_answer_is_a_result_for_the_model_to_read() -> None:
    async with open_hostile() as server:
        result = await call(server, "refuses")
        assert result.is_error
        assert result.content[0]["text"] == "path must be absolute"
        assert (await call(server, "null_error")).is_error
        assert (await call(server, "not_a_result")).is_error
        wants_input = await call(server, "wants_input")
        assert "asks for input" in str(wants_input.content[0]["text"])
        await assert_sound(server)


@pytest.mark.parametrize("tool", ["gone", "says_gone"])
async def test_a_tool_that_was_withdrawn_is_not_found(tool: str) -> None:
    async with open_hostile() as server:
        await server.list_tools()
        with pytest.raises(ToolNotFoundError, match=repr(tool)):
            await call(server, tool)
        assert tool not in [spec.name for spec in await server.list_tools()]


async def test_a_cancelled_call_is_cancelled_downstream() -> None:
    async with open_hostile() as server:
        await assert_sound(server)
        with anyio.move_on_after(0.3):
            await call(server, "silent")
        assert len(await json_of(server, "cancellations")) == 1


async def test_a_call_past_its_deadline_is_cancelled_downstream() -> None:
    async with open_hostile(call_deadline_seconds=0.3) as server:
        with pytest.raises(ToolServerTimeoutError):
            await call(server, "silent")
        assert len(await json_of(server, "cancellations")) == 1


async def test_a_server_that_dies_fails_its_calls_at_once_and_the_next_one_works() -> None:
    failures: list[ToolServerUnavailableError] = []

    async def fail(server: McpToolServer) -> None:
        with pytest.raises(ToolServerUnavailableError) as failure:
            await call(server, "silent")
        failures.append(failure.value)

    async with open_hostile() as server:
        for deaths in (1, 2):
            pid = int(await text_of(server, "pid"))
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(fail, server)
                await anyio.wait_all_tasks_blocked()
                os.kill(pid, signal.SIGKILL)
            assert server.status().last_failure == "was ended by signal 9"
            await assert_sound(server, restarts=deaths)
    assert len(failures) == 10
    assert {str(failure) for failure in failures} == {"tool server 'hostile' was ended by signal 9"}
    assert {failure.retry_after_seconds for failure in failures} == {0.0}


@asyncio_only
async def test_a_server_that_stops_reading_and_answering_is_replaced() -> None:
    async with open_hostile(call_deadline_seconds=6.0, connect_deadline_seconds=2.0) as server:
        pid = await json_of(server, "pid")
        with pytest.raises(ToolServerTimeoutError):
            await call(server, "deaf")
        await until_gone(pid)
        assert server.status().last_failure == "has stopped answering"
        await assert_sound(server, restarts=1)


async def test_what_a_deaf_server_is_sent_is_bounded() -> None:
    async with open_hostile(call_deadline_seconds=20.0) as server, anyio.create_task_group() as tg:
        await assert_sound(server)
        tg.start_soon(suppressed_loss, server, "deaf")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ToolServerUnavailableError, match="does not read"):
            await call(server, "echo", text="x" * 40_000_000)
        await assert_sound(server, restarts=1)


async def suppressed_loss(server: McpToolServer, tool: str) -> None:
    with pytest.raises(ToolServerUnavailableError):
        await call(server, tool)


@pytest.mark.parametrize("mode", ["sound", "stubborn"])
async def test_no_process_is_left_behind(mode: str) -> None:
    async with open_hostile(mode) as server:
        pid, orphan = await json_of(server, "pid"), await json_of(server, "orphan")
    await until_gone(pid)
    await until_gone(orphan)


async def test_a_killed_server_s_children_do_not_keep_it_alive() -> None:
    async with open_hostile() as server:
        orphan = await json_of(server, "orphan")
        with pytest.raises(ToolServerUnavailableError, match="signal 9"):
            await call(server, "dies")
        await until_gone(orphan)
        await assert_sound(server, restarts=1)


@pytest.mark.parametrize("mode", ["dies_of_discover", "ignores_discover"])
async def test_servers_of_the_older_era_need_not_know_the_newer_one(mode: str) -> None:
    async with open_hostile(mode, connect_deadline_seconds=4.0) as server:
        await assert_sound(server)


async def test_a_server_of_an_unknown_version_is_refused() -> None:
    async with open_hostile("ancient") as server:
        with pytest.raises(ToolServerUnavailableError, match="no protocol version"):
            await server.list_tools()


async def test_a_server_that_never_answers_times_out_and_then_fails_fast() -> None:
    async with open_hostile("mute", connect_deadline_seconds=0.6) as server:
        for _ in range(2):
            with pytest.raises(ToolServerTimeoutError, match=r"did not answer within 0\.6 s"):
                await server.list_tools()
        with anyio.fail_after(0.2), pytest.raises(ToolServerUnavailableError) as failure:
            await server.list_tools()
        assert failure.value.retry_after_seconds is not None
        assert 0 < failure.value.retry_after_seconds <= 0.5
        assert server.status().state == "waiting"


async def test_a_server_that_ends_at_start_is_reported_without_what_it_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with open_hostile("exits", env={"SECRET": "hunter2"}) as server:
        with pytest.raises(ToolServerUnavailableError, match=r"ended with code 7$"):
            await call(server, "echo", text="x")
        assert server.status().last_failure == "ended with code 7"
    said = " ".join(str(vars(record).get("stderr", "")) for record in caplog.records)
    assert "cannot open database: password=***" in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (StdioServer(command=("/nowhere/to/be/found",)), "the program of its command is not found"),
        (StdioServer(command=("/",)), "check its command"),
        (StdioServer(command=("true",), cwd="/nowhere"), "its cwd is no directory"),  # type: ignore[arg-type]
    ],
)
async def test_a_command_that_cannot_be_started_says_why(
    settings: StdioServer, reason: str
) -> None:
    async with open_tool_server("x", settings) as server:
        with pytest.raises(ToolServerUnavailableError, match=reason):
            await server.list_tools()
        assert "nowhere" not in server.status().last_failure


async def test_opening_starts_nothing() -> None:
    async with open_hostile("exits") as server:
        await anyio.wait_all_tasks_blocked()
        assert server.status().state == "idle"


async def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    async def fail() -> None:
        async with open_hostile() as server:
            await assert_sound(server)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_an_error_of_the_caller_s_progress_comes_out_as_it_is() -> None:
    async def fail(progress: ToolProgress) -> None:
        raise ZeroDivisionError

    async with open_hostile() as server:
        with pytest.raises(ZeroDivisionError):
            await server.call("crowded", {}, fail)
        await assert_sound(server)


async def test_many_first_calls_start_one_server() -> None:
    pids: set[str] = set()

    async def ask(server: McpToolServer) -> None:
        [block] = (await server.call("pid", {}, no_progress)).content
        pids.add(str(block["text"]))

    async with open_hostile() as server, anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(ask, server)
    assert len(pids) == 1
