"""Calls on behalf of a call: what a server asks of the kernel while it runs a tool."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from aios_mcp.errors import NotPermittedError, failure_of
from aios_mcp.kernel import Agent, Grants, Kernel
from aios_mcp.kernel.calls import GenerateCall, ToolCall
from aios_mcp.kernel.errands import MOST_AT_ONCE, Errands
from backends.errors import (
    ToolServerError,
    ToolServerTimeoutError,
    ToolServerUnavailableError,
)
from backends.scripted import ListJournal
from scheduler import DeadlineMissedError, InLine, Lane, Lease, NestingTooDeepError
from scheduler.policies import Deadline, Fair, Policy, Priority
from tests.kernel.errands import Asker, Slot, Work
from tests.kernel.kernels import agent, build, core, ignore, no_progress, prompt
from tests.marks import virtual_time

ASK = ToolCall(tool="asker.ask")
BOB = agent("bob")


def kernel_of(
    work: Work,
    slot: Slot,
    *,
    calls_back: bool = True,
    policy: Policy | None = None,
    journal: ListJournal | None = None,
) -> Kernel:
    return build(
        core(llm=slot),
        servers={"asker": Asker(work)},
        calling_back=["asker"] if calls_back else [],
        policy=policy or Priority(1000.0),
        journal=journal,
    )


async def generate(kernel: Kernel, caller: Agent, text: str, in_line: InLine | None = None) -> None:
    call = GenerateCall(request=prompt(text), lane=Lane.BATCH)
    await kernel.llm_generate(caller, call, ignore, in_line)


async def queue(kernel: Kernel, tasks: TaskGroup, caller: Agent, text: str) -> None:
    """Start a generation that has to wait; return when it does."""
    waits = anyio.Event()

    def note(_: Lease) -> None:
        waits.set()

    tasks.start_soon(generate, kernel, caller, text, note)
    await waits.wait()


async def execute(kernel: Kernel, caller: Agent, lane: Lane = Lane.NORMAL) -> None:
    await kernel.execute_tool(caller, replace(ASK, lane=lane), no_progress)


async def order_behind_a_queue(
    kernel: Kernel, slot: Slot, *, lane: Lane = Lane.NORMAL
) -> list[str]:
    """Let bob take the only slot and queue for it, and ada call a tool that asks for it too."""
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(generate, kernel, BOB, "holds")
            await slot.taken.wait()
            await queue(kernel, tasks, BOB, "queued")
            await queue(kernel, tasks, BOB, "queued too")
            tasks.start_soon(execute, kernel, agent("ada"), lane)
    return slot.order


async def order_with(
    errand_of: Callable[[str], str],
    *,
    policy: Policy | None = None,
    calls_back: bool = True,
    lane: Lane = Lane.NORMAL,
) -> list[str]:
    slot = Slot()

    async def ask(token: str) -> None:
        bob = replace(BOB, errand=errand_of(token))
        await generate(kernel, bob, "asked for ada", lambda _: slot.goes_on.set())

    kernel = kernel_of(ask, slot, policy=policy, calls_back=calls_back)
    return await order_behind_a_queue(kernel, slot, lane=lane)


AHEAD = ["holds", "asked for ada", "queued", "queued too"]
BEHIND = ["holds", "queued", "queued too", "asked for ada"]


@pytest.mark.parametrize("policy", [Fair, lambda: Priority(1000.0), Deadline])
async def test_what_a_server_asks_for_a_call_does_not_wait_behind_the_server_s_own_queue(
    policy: Callable[[], Policy],
) -> None:
    assert await order_with(lambda token: token, policy=policy()) == AHEAD


@pytest.mark.parametrize(
    ("lane", "order"), [(Lane.URGENT, AHEAD), (Lane.NORMAL, AHEAD), (Lane.BATCH, BEHIND)]
)
async def test_what_is_asked_for_a_call_is_as_urgent_as_that_call(
    lane: Lane, order: list[str]
) -> None:
    assert await order_with(lambda token: token, lane=lane) == order


@pytest.mark.parametrize(
    "presented",
    ["", "0" * 32, "{token}0", "{short}", "\ud800 \x00", "r4"],
    ids=["none", "unknown", "longer", "shorter", "nonsense", "the call's request id"],
)
async def test_what_is_no_token_gives_nothing_and_is_no_error(presented: str) -> None:
    assert await order_with(lambda token: presented.format(token=token, short=token[:-1])) == BEHIND


async def test_a_server_that_is_not_said_to_call_back_is_told_no_token() -> None:
    told: list[str] = []

    def note(token: str) -> str:
        told.append(token)
        return token

    assert await order_with(note, calls_back=False) == BEHIND
    assert told == [""]


@pytest.mark.parametrize("end", ["answer", "failure", "deadline"])
@virtual_time
async def test_a_token_ends_with_its_call_however_that_ends(
    end: str, anyio_backend: object
) -> None:
    slot, told = Slot(), list[str]()

    async def ask(token: str) -> None:
        told.append(token)
        if len(told) == 2:
            bob = replace(BOB, errand=told[0])
            await generate(kernel, bob, "asked for ada", lambda _: slot.goes_on.set())
        elif end == "failure":
            raise ToolServerUnavailableError("down")
        elif end == "deadline":
            await anyio.sleep_forever()

    kernel = kernel_of(ask, slot)
    with suppress(ToolServerError):
        await execute(kernel, agent("ada"))
    assert await order_behind_a_queue(kernel, slot) == BEHIND
    assert len(set(told)) == 2
    assert {len(bytes.fromhex(token)) for token in told} == {16}


def test_an_errand_is_over_at_its_end_for_calls_that_hold_it_too() -> None:
    errands = Errands(["s"])
    with errands.sent_to("s", "job", 5.0) as token:
        errand = errands.of(replace(BOB, errand=token))
        assert (errand.job_id, errand.until) == ("job", 5.0)
    assert (errand.job_id, errand.until) == ("", float("inf"))
    assert errands.of(replace(BOB, errand=token)) is not errand


async def test_an_errand_makes_no_flood_urgent() -> None:
    slot = Slot()

    async def ask(token: str) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(MOST_AT_ONCE + 2):
                caller = replace(agent(f"b{number}"), errand=token)
                await queue(kernel, tasks, caller, f"asked {number}")
            slot.goes_on.set()

    kernel = kernel_of(ask, slot)
    order = await order_behind_a_queue(kernel, slot)
    ahead = [f"asked {number}" for number in range(MOST_AT_ONCE)]
    assert order == ["holds", *ahead, "queued", "queued too", "asked 8", "asked 9"]


async def test_calls_that_have_ended_make_room_for_others_of_their_errand() -> None:
    errands = Errands(["s"])
    with errands.sent_to("s", "job", 5.0) as token:
        caller = replace(BOB, errand=token)
        for _ in range(MOST_AT_ONCE + 1):
            with errands.of(caller) as errand:
                assert errand.job_id == "job"


@virtual_time
@pytest.mark.parametrize("tokens", [True, False], ids=["with tokens", "without"])
async def test_tools_that_are_asked_for_a_call_go_ahead_and_not_after_its_deadline(
    tokens: bool, anyio_backend: object
) -> None:
    places, refused = list[int | None](), list[float]()

    async def ask(token: str) -> None:
        with anyio.CancelScope(shield=True):  # will not stop
            try:
                await use_other("bob", token)
            except DeadlineMissedError:
                refused.append(anyio.current_time() - started)

    async def use_other(name: str, token: str = "") -> None:
        def note(lease: Lease) -> None:
            places.append(lease.position())

        caller, call = (
            replace(agent(name), errand=token),
            ToolCall(tool="other.ask", lane=Lane.BATCH),
        )
        await kernel.execute_tool(caller, call, no_progress, note)

    async def keep_busy(_: str) -> None:
        await anyio.sleep_until(started + 20)

    kernel = build(
        servers={"asker": Asker(ask), "other": Asker(keep_busy)},
        calling_back=["asker"] if tokens else [],
        policy=Priority(1000.0),
    )
    started = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for name in ("bob", "bob", "eve"):
            tasks.start_soon(use_other, name)
            await anyio.wait_all_tasks_blocked()
        with suppress(ToolServerTimeoutError):
            await kernel.execute_tool(agent(), replace(ASK, deadline_seconds=5.0), no_progress)
    assert places == [0, 0 if tokens else 1]
    assert refused == ([pytest.approx(5.0)] if tokens else [])


@virtual_time
async def test_what_is_asked_for_a_call_does_not_start_after_the_deadline_of_that_call() -> None:
    slot = Slot()
    refused: list[float] = []

    async def ask(token: str) -> None:
        with anyio.CancelScope(shield=True), pytest.raises(DeadlineMissedError):  # will not stop
            await generate(kernel, replace(BOB, errand=token), "asked for ada")
        refused.append(anyio.current_time())
        await anyio.lowlevel.checkpoint()

    kernel = kernel_of(ask, slot)
    started = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(generate, kernel, BOB, "holds")
        await slot.taken.wait()
        with pytest.raises(ToolServerTimeoutError):
            await kernel.execute_tool(agent(), replace(ASK, deadline_seconds=5.0), no_progress)
        slot.goes_on.set()
    assert refused == [pytest.approx(started + 5.0)]
    assert slot.order == ["holds"]


async def test_who_asks_pays_and_sees_it_alone() -> None:
    slot, journal = Slot(), ListJournal()
    slot.goes_on.set()
    ada, told = agent("ada"), list[str]()

    async def ask(token: str) -> None:
        told.append(token)
        await generate(kernel, replace(BOB, errand=token), "asked for ada")

    kernel = kernel_of(ask, slot, journal=journal)
    await execute(kernel, ada)
    assert ((await kernel.usage(ada)).tokens, (await kernel.usage(BOB)).tokens) == (0, 7)
    [bobs] = await kernel.audit(BOB)
    assert (bobs.op, bobs.outcome) == ("llm_generate", "ok")
    assert "ada" not in str(bobs)
    assert told[0] not in str(journal.audit)
    assert told[0] not in str(replace(BOB, errand=told[0]))


async def test_a_token_gives_no_right() -> None:
    async def ask(token: str) -> None:
        with pytest.raises(NotPermittedError):
            await execute(kernel, replace(agent("bob", grants=Grants()), errand=token))

    kernel = kernel_of(ask, Slot())
    await execute(kernel, agent("ada"))


async def test_a_server_may_call_itself_through_the_kernel_though_all_its_slots_are_taken() -> None:
    started: list[str] = []
    both = anyio.Event()

    async def ask(token: str) -> None:
        started.append(token)
        if len(started) == 2:
            both.set()
        if len(started) <= 2:
            await both.wait()  # the server's two slots are taken
            await execute(kernel, replace(BOB, errand=token))

    kernel = kernel_of(ask, Slot())
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for name in ("ada", "eve"):
                tasks.start_soon(execute, kernel, agent(name))
    assert len(started) == 4
    assert (await kernel.status(BOB)).running == 0


@pytest.mark.parametrize("tokens", [True, False], ids=["with tokens", "without"])
@virtual_time
async def test_two_agents_that_call_each_other_for_ever_end_in_a_typed_error(
    tokens: bool, anyio_backend: object
) -> None:
    callers: list[str] = []

    async def ask(token: str) -> None:
        caller = agent(("bob", "ada")[len(callers) % 2])
        callers.append(caller.name)
        await execute(kernel, replace(caller, errand=token))

    kernel = kernel_of(ask, Slot(), calls_back=tokens)
    started = anyio.current_time()
    error = NestingTooDeepError if tokens else ToolServerTimeoutError
    with pytest.raises(error) as refusal:
        await execute(kernel, agent("ada"))
    failure = failure_of(refusal.value)
    assert failure is not None
    if tokens:
        assert (failure.code, failure.retryable) == ("not_permitted", False)
        assert anyio.current_time() < started + 1  # not by a deadline
    assert callers == (["bob", "ada", "bob", "ada"] if tokens else ["bob", "ada"])
    assert (await kernel.status(BOB)).running == 0
