"""Progress: the newest state wins, at a bounded rate, and never at the worker's cost."""

import itertools
from collections.abc import Sequence
from functools import partial

import anyio
import pytest
from mcp import Client

from aios_mcp.server.progress import MESSAGE_CHARACTERS, reporting
from backends.messages import Hit, MemoryQuery, Piece, Reach, ToolProgress
from backends.scripted import EchoCore
from backends.scripted_memories import ListMemories
from tests.kernel.kernels import build, core
from tests.marks import virtual_time
from tests.server.surfaces import server


class Told:
    """Keeps what was sent, and when."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, float, float | None, str | None]] = []

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.sent.append((anyio.current_time(), progress, total, message))

    @property
    def messages(self) -> list[str | None]:
        return [message for _, _, _, message in self.sent]

    def gaps(self) -> list[float]:
        times = [at for at, _, _, _ in self.sent]
        return [later - earlier for earlier, later in itertools.pairwise(times)]


async def stuck(progress: float, total: float | None, message: str | None) -> None:
    """A client that does not read."""
    await anyio.sleep_forever()


@virtual_time
async def test_a_thousand_pieces_in_a_second_are_told_ten_times() -> None:
    told = Told()
    async with reporting(told, lambda: "waiting") as report:
        for number in range(1000):
            await report.piece(Piece(f"w{number} ", 1))
            await anyio.sleep(0.001)
    assert 9 <= len(told.sent) <= 12
    assert all(gap > 0.099 for gap in told.gaps()[:-1])
    assert told.sent[-1][1] == 1000.0
    assert (told.messages[-1] or "").endswith("w999 ")


@virtual_time
async def test_the_numbers_only_rise_whatever_the_tool_says() -> None:
    told = Told()
    async with reporting(told, lambda: "waiting") as report:
        for value in (5.0, 1.0, 1.0, 7.0):
            await report.progress(ToolProgress(value, 9.0, f"at {value}"))
            await anyio.sleep(1)
    numbers = [progress for _, progress, _, _ in told.sent]
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (5.0, 7.0)
    assert [total for _, _, total, _ in told.sent] == [9.0] * 4
    assert told.messages == ["at 5.0", "at 1.0", "at 1.0", "at 7.0"]


@virtual_time
async def test_a_heartbeat_comes_at_least_every_ten_seconds() -> None:
    told = Told()
    started = anyio.current_time()
    async with reporting(told, lambda: "waiting for a slot; 3 calls in line"):
        await anyio.sleep(60)
    assert told.sent[0][0] - started == pytest.approx(1.0)
    assert max(told.gaps()) < 10
    assert anyio.current_time() - told.sent[-1][0] < 10
    assert told.messages[0] == "waiting for a slot; 3 calls in line (1 s)"


@virtual_time
async def test_a_stall_repeats_the_latest_text() -> None:
    told = Told()
    async with reporting(told, lambda: "waiting") as report:
        await report.piece(Piece("half a sen", 2))
        await anyio.sleep(25)
    assert told.messages == ["half a sen"] * 3


@virtual_time
async def test_a_client_that_does_not_read_costs_the_worker_nothing() -> None:
    started = anyio.current_time()
    async with reporting(stuck, lambda: "waiting") as report:
        for _ in range(1000):
            await report.piece(Piece("word ", 1))
        worked = anyio.current_time() - started
    assert worked == 0
    assert anyio.current_time() - started <= 1.0  # the last word waits no longer than this


@virtual_time
async def test_a_message_is_the_end_of_the_text_and_can_be_encoded() -> None:
    told = Told()
    async with reporting(told, lambda: "waiting") as report:
        await report.piece(Piece("a" * 500 + "\ud800", 1))
    [message] = told.messages
    assert message == "a" * (MESSAGE_CHARACTERS - 1) + "\ufffd"


async def test_progress_that_cannot_be_sent_does_not_fail_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(progress: float, total: float | None, message: str | None) -> None:
        raise OSError("the wire is gone")

    async with reporting(broken, lambda: "waiting") as report:
        await report.piece(Piece("x", 1))
    assert [record.getMessage() for record in caplog.records] == ["progress not sent"]


async def test_nothing_happened_nothing_is_told() -> None:
    told = Told()
    async with reporting(told, lambda: "waiting"):
        pass
    assert told.sent == []


ONE = "1 call in front"
CALLS: dict[str, tuple[str, dict[str, object], int, list[str]]] = {
    # What is in front goes as slots get free: one by one, two at once, three at once.
    "a generation": ("llm_generate", {"prompt": "word " * 30}, 1, [ONE, "next in line"]),
    "a tool": (
        "execute_tool",
        {"tool": "demo.wait", "arguments": {"seconds": 30}},
        2,
        ["next in line"],
    ),
    "a search": ("search_memory", {"query": "tea"}, 4, []),
}


class SlowMemories(ListMemories):
    """Takes half a minute to find anything."""

    async def search(self, query: MemoryQuery, reach: Sequence[Reach], /) -> tuple[Hit, ...]:
        await anyio.sleep(30)
        return await super().search(query, reach)


def slow_memories() -> SlowMemories:
    return SlowMemories(now=lambda: 0.0, new_id=lambda: "m1")


@virtual_time
@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("kind", CALLS)
async def test_a_call_in_line_tells_how_many_are_in_front(kind: str, mode: str) -> None:
    name, arguments, slots, after = CALLS[kind]
    kernel = build(core(llm=EchoCore(seconds_per_token=1.0)), memories=slow_memories())
    told = Told()
    async with Client(server(kernel), mode=mode) as client, anyio.create_task_group() as tasks:
        for _ in range(slots + 2):
            tasks.start_soon(client.call_tool, name, arguments)
        await anyio.sleep(0.5)
        tasks.start_soon(partial(client.call_tool, name, arguments, progress_callback=told))
        await anyio.sleep(95)
        tasks.cancel_scope.cancel()
    assert told.messages[0] == "2 calls in front (0 s)"
    places = [(message or "").partition(" (")[0] for message in told.messages]
    steps = [place for place, _ in itertools.groupby(places) if "line" in place or "call" in place]
    assert steps == ["2 calls in front", *after]
    assert max(told.gaps()) < 10
    numbers = [progress for _, progress, _, _ in told.sent]
    assert numbers == sorted(set(numbers))


@virtual_time
async def test_a_line_that_moves_fast_is_told_once_a_second() -> None:
    kernel = build(core(llm=EchoCore(seconds_per_token=0.125)), max_waiting_per_agent=40)
    told = Told()
    async with Client(server(kernel)) as client, anyio.create_task_group() as tasks:
        for _ in range(33):
            tasks.start_soon(client.call_tool, "llm_generate", {"prompt": "word"})
        await anyio.sleep(0.0625)
        await client.call_tool("llm_generate", {"prompt": "at last"}, progress_callback=told)
        await anyio.wait_all_tasks_blocked()
    line = [each for each in told.sent if "front" in (each[3] or "")]
    assert 3 <= len(line) <= 6
    assert all(later[0] - earlier[0] >= 0.99 for earlier, later in itertools.pairwise(line))
    assert told.messages[-1] == "at last "
    numbers = [progress for _, progress, _, _ in told.sent]
    assert numbers == sorted(set(numbers))
