"""Budget that others hold: it is waited for, first come first served, and never refused falsely."""

import random
from pathlib import Path

import anyio
import pytest

from aios_mcp.errors import BudgetExceededError
from aios_mcp.kernel import Agent, Allowance, Kernel
from aios_mcp.kernel.budget import day_of
from aios_mcp.kernel.calls import GenerateCall
from aios_mcp.kernel.headroom import Headroom
from backends.database import open_database
from backends.errors import OverdrawnError, StoreError
from backends.journal import JOURNAL, SqliteJournal
from backends.scripted import EchoCore, ListJournal
from tests.kernel.kernels import NOW, agent, build, core, ignore, prompt
from tests.marks import asyncio_only, virtual_time

WORD = 5 + 16  # the most tokens that the prompt "word " may have


def slow(journal: ListJournal | None = None, *, queue_seconds: float = 1000.0) -> Kernel:
    return build(
        core(llm=EchoCore(seconds_per_token=1.0), slots=64),
        journal=journal,
        queue_seconds=queue_seconds,
        max_waiting_per_agent=2000,
    )


def poor(tokens: int) -> Agent:
    return agent(allowance=Allowance(tokens_per_day=tokens))


async def ask(kernel: Kernel, who: Agent, words: int = 1, most: int = 100) -> str:
    call = GenerateCall(request=prompt("word " * words, most))
    try:
        await kernel.llm_generate(who, call, ignore)
    except BudgetExceededError:
        return "refused"
    return "ok"


@virtual_time
async def test_a_call_waits_for_what_another_holds_and_does_not_use() -> None:
    kernel, ada = slow(), poor(150)
    started = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, kernel, ada)
        await anyio.wait_all_tasks_blocked()
        assert await ask(kernel, ada) == "ok"
    assert anyio.current_time() - started == pytest.approx(2)


@virtual_time
async def test_what_would_not_fit_in_any_case_is_refused_at_once() -> None:
    kernel, ada = slow(), poor(150)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, kernel, ada)
        await anyio.wait_all_tasks_blocked()
        before = anyio.current_time()
        assert await ask(kernel, ada, most=140) == "refused"
        assert anyio.current_time() == before


@virtual_time
async def test_the_wait_has_an_end() -> None:
    journal = ListJournal()
    kernel, ada = slow(journal, queue_seconds=3.0), poor(200)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, kernel, ada, 10)
        await anyio.wait_all_tasks_blocked()
        before = anyio.current_time()
        assert await ask(kernel, ada) == "refused"
        assert anyio.current_time() - before == pytest.approx(3)
    assert [record.outcome for record in journal.audit].count("budget_exceeded") == 1


@virtual_time
async def test_who_came_first_is_served_first_and_one_who_gives_up_holds_nobody_up() -> None:
    kernel, ada = slow(), poor(150)
    done: list[str] = []

    async def named(name: str) -> None:
        await ask(kernel, ada)
        done.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(named, "first")
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as given_up:
            async with anyio.create_task_group() as impatient:
                impatient.start_soon(named, "second")
                await anyio.wait_all_tasks_blocked()
                for name in ("third", "fourth"):
                    tasks.start_soon(named, name)
                    await anyio.wait_all_tasks_blocked()
                given_up.cancel()
    assert done == ["first", "third", "fourth"]


@virtual_time
@pytest.mark.parametrize("seed", range(3))
async def test_under_a_storm_nothing_is_overspent_left_over_or_refused_falsely(seed: int) -> None:
    await storm(slow(), seed, budget=4_000, calls=1000)


@asyncio_only  # a virtual clock jumps past deadlines while the disk is waited for
async def test_in_the_real_ledger_neither_though_ends_are_on_disk_later(tmp_path: Path) -> None:
    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: NOW)
        await journal.recover()
        kernel = build(core(llm=EchoCore(), slots=64), journal=journal, max_waiting_per_agent=2000)
        await storm(kernel, 0, budget=2_000, calls=500)
        records = await journal.records(limit=1000)
        assert sum(record.tokens for record in records) == (await kernel.usage(poor(0))).tokens
        assert (await journal.balance("ada", day_of(NOW), "tokens")).held == 0


async def storm(kernel: Kernel, seed: int, *, budget: int, calls: int) -> None:
    rng = random.Random(seed)
    ada = poor(budget)
    outcomes: list[tuple[str, int]] = []
    rights = anyio.CapacityLimiter(64)

    async def submit(words: int, most: int) -> None:
        async with rights:
            outcomes.append((await ask(kernel, ada, words, most), 5 * words + 16 + most))

    async with anyio.create_task_group() as tasks:
        for _ in range(calls):
            words = rng.choice([1, 1, 2, 4, 8])
            tasks.start_soon(submit, words, words + rng.choice([0, 10, 100]))
    used = (await kernel.usage(ada)).tokens
    left = budget - used
    assert left >= 0
    refused = [worst for outcome, worst in outcomes if outcome == "refused"]
    assert refused
    assert min(refused) > left
    assert left < WORD + 1


async def test_an_error_that_is_not_about_the_budget_leaves_no_trace() -> None:
    headroom = Headroom()

    async def broken() -> None:
        raise StoreError("disk full")

    async def opens() -> str:
        return "open"

    with pytest.raises(StoreError):
        await headroom.open("ada", broken, within_seconds=1.0)
    assert await headroom.open("ada", opens, within_seconds=1.0) == "open"
    headroom.close("ada")


async def test_with_nobody_to_wait_for_a_refusal_comes_at_once() -> None:
    attempts: list[int] = []

    async def full() -> None:
        attempts.append(1)
        raise OverdrawnError("ada", unit="tokens", wanted=5, left=4)

    with anyio.fail_after(5), pytest.raises(OverdrawnError):
        await Headroom().open("ada", full, within_seconds=1000.0)
    assert len(attempts) == 2
