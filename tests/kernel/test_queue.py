"""The queue to be seen: one's own calls in full, of others only what a grant opens."""

import anyio
import pytest

from aios_mcp.kernel import Agent, Grants, Kernel
from aios_mcp.kernel.calls import GenerateCall, ToolCall
from aios_mcp.kernel.cores import Price
from aios_mcp.kernel.throughput import Throughput
from backends.scripted import EchoCore
from scheduler import Lane, Lease
from tests.kernel.kernels import agent, build, core, ignore, no_progress, prompt
from tests.marks import virtual_time

OBSERVER = agent("ops", grants=Grants(tiers=frozenset({"balanced"}), observe=True))


def slow() -> Kernel:
    price = Price(input=1.0, cached_input=1.0, output=1.0)
    llm = EchoCore(seconds_per_token=1.0)
    return build(core(llm=llm, price=price), shares={"ada": 2.0, "bob": 1.0})


async def generate(kernel: Kernel, who: Agent, words: int, lane: Lane = Lane.NORMAL) -> None:
    call = GenerateCall(request=prompt("word " * words), lane=lane)
    await kernel.llm_generate(who, call, ignore)


@virtual_time
async def test_an_agent_sees_its_calls_in_line_and_at_work() -> None:
    kernel = slow()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(generate, kernel, agent(), 10)
        await anyio.sleep(1)
        tasks.start_soon(generate, kernel, agent(), 1, Lane.BATCH)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(generate, kernel, agent(), 1, Lane.URGENT)
        await anyio.sleep(2.5)
        report = await kernel.queue(agent())
        running, first, second = report.calls
        assert (running.state, running.place, running.tokens) == ("running", "echo", 17 + 3)
        assert (running.position, running.expected_wait_ms) == (None, None)
        assert [(each.state, each.position, each.lane) for each in (first, second)] == [
            ("waiting", 0, "batch"),
            ("waiting", 1, "urgent"),
        ]
        assert first.waited_ms == pytest.approx(2500)
        assert (first.op, first.target, first.place) == ("llm_generate", "balanced", "")
        [load] = report.cores
        assert (load.name, load.slots, load.busy, load.waiting) == ("echo", 1, 1, 2)


@virtual_time
async def test_tool_and_memory_calls_are_seen_too() -> None:
    kernel = build()
    call = ToolCall(tool="demo.wait", arguments={"seconds": 5})
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(kernel.execute_tool, agent(), call, no_progress)
        await anyio.sleep(1)
        calls = (await kernel.queue(agent())).calls
        assert [each.target for each in calls] == ["demo.wait"] * 3
        assert [each.state for each in calls] == ["running", "running", "waiting"]
        tasks.cancel_scope.cancel()
    assert (await kernel.queue(agent())).calls == []


@virtual_time
async def test_an_agent_sees_no_trace_of_the_calls_of_others() -> None:
    kernel = slow()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(generate, kernel, agent("bob"), 5)
        await anyio.sleep(2)
        report = await kernel.queue(agent())
        assert "bob" not in repr(report)
        assert report.calls == []
        assert [each.name for each in report.agents] == ["ada"]
        assert report.cores[0].busy == 1
        tasks.cancel_scope.cancel()


@virtual_time
async def test_who_may_observe_sees_how_all_agents_fare_but_not_what_they_ask() -> None:
    kernel = slow()
    async with anyio.create_task_group() as tasks:
        for who, words in (("bob", 8), ("bob", 1), ("guest", 1)):
            tasks.start_soon(generate, kernel, agent(who), words)
            await anyio.wait_all_tasks_blocked()
        await anyio.sleep(4.5)
        report = await kernel.queue(OBSERVER)
        loads = {each.name: each for each in report.agents}
        assert list(loads) == ["ada", "bob", "guest"]
        assert (loads["bob"].running, loads["bob"].waiting, loads["bob"].share) == (1, 1, 1.0)
        assert (loads["guest"].running, loads["guest"].waiting) == (0, 1)
        assert (loads["ada"].share, loads["ada"].tokens_per_second) == (2.0, 0.0)
        assert loads["bob"].tokens_per_second > 0
        assert report.calls == []
    after = {each.name: each for each in (await kernel.queue(OBSERVER)).agents}
    assert after["bob"].tokens_today == 18
    assert after["bob"].usd_today == pytest.approx(18e-6)


def test_narrowed_rights_do_not_observe() -> None:
    assert OBSERVER.grants.narrow().observe
    assert not OBSERVER.grants.narrow(max_tokens=5).observe
    assert not OBSERVER.grants.narrow(deny=["x.*"]).observe
    assert not agent().grants.narrow().observe


def test_throughput_is_that_of_late() -> None:
    rates = Throughput()
    for tenth in range(1000):
        rates.add("ada", 5, tenth / 10)
    assert rates.rate("ada", 100.0) == pytest.approx(50, rel=0.02)
    assert rates.rate("ada", 110.0) == pytest.approx(50 / 2.718, rel=0.02)
    assert rates.rate("bob", 100.0) == 0.0


@virtual_time
async def test_only_a_call_that_has_to_wait_is_told_of_its_lease() -> None:
    kernel = slow()
    told: list[tuple[str, int | None]] = []

    def keep(lease: Lease) -> None:
        told.append((lease.job.agent, lease.position()))

    async with anyio.create_task_group() as tasks:
        for name in ("first", "second", "third"):
            call = GenerateCall(request=prompt("a b"))
            tasks.start_soon(kernel.llm_generate, agent(name), call, ignore, keep)
            await anyio.sleep(0.1)
    assert told == [("second", 0), ("third", 1)]


@virtual_time
async def test_a_line_that_moves_wakes_who_watches_it() -> None:
    kernel = slow()
    places: list[tuple[float, int | None]] = []
    started = anyio.current_time()

    async with anyio.create_task_group() as tasks:

        async def watch(lease: Lease) -> None:
            while lease.is_waiting:
                places.append((round(anyio.current_time() - started, 3), lease.position()))
                await lease.moved()

        def watched(lease: Lease) -> None:
            tasks.start_soon(watch, lease)

        for words in (2, 3, 1):
            call = GenerateCall(request=prompt("word " * words))
            tasks.start_soon(
                kernel.llm_generate, agent(), call, ignore, watched if words == 1 else None
            )
            await anyio.wait_all_tasks_blocked()
    assert places == [(0.0, 1), (2.0, 0)]
