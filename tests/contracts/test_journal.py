"""Contract of `Journal`: every implementation passes these tests."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from backends.database import open_database
from backends.errors import IdempotencyConflictError, OverdrawnError
from backends.journal import JOURNAL, SqliteJournal
from backends.messages import Balance, CallClosed, CallOpened, Hold
from backends.protocols import Journal
from backends.scripted import ListJournal

Opener = Callable[[Path], AbstractAsyncContextManager[Journal]]
NOW = 1_790_000_000.0


@asynccontextmanager
async def in_sqlite(directory: Path) -> AsyncGenerator[Journal]:
    async with open_database(directory / "journal.db", [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: NOW)
        await journal.recover()
        yield journal


@asynccontextmanager
async def in_a_list(directory: Path) -> AsyncGenerator[Journal]:
    del directory
    yield ListJournal()


@pytest.fixture(params=[in_sqlite, in_a_list])
def opener(request: pytest.FixtureRequest) -> Opener:
    found: Opener = request.param
    return found


def opened(number: int = 1, digest: str = "d") -> CallOpened:
    return CallOpened(
        request_id=f"r{number}", agent="ada", op="op", target="t", digest=digest, at=NOW + number
    )


def hold(amount: int, cap: int | None = 100) -> Hold:
    return Hold(account="ada", period="2026-11-24", unit="tokens", amount=amount, cap=cap)


def closed(number: int = 1, used: int = 0, outcome: str = "ok") -> CallClosed:
    return CallClosed(
        request_id=f"r{number}", at=NOW + 10, outcome=outcome, used={"tokens": used}, place="core"
    )


async def balance(journal: Journal) -> Balance:
    return await journal.balance("ada", "2026-11-24", "tokens")


async def test_a_call_holds_then_settles_and_leaves_one_record(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path) as journal:
        assert await journal.open_call(opened(), [hold(60)], None) is None
        assert await balance(journal) == Balance(spent=0, held=60)
        [record] = await journal.records()
        assert (record.outcome, record.closed) == ("", None)
        await journal.close_call(closed(used=7))
        assert await balance(journal) == Balance(spent=7, held=0)
        [record] = await journal.records(agent="ada", request_id="r1")
        assert (record.outcome, record.closed, record.tokens, record.place) == (
            "ok",
            NOW + 10,
            7,
            "core",
        )


async def test_closing_twice_settles_once(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as journal:
        await journal.open_call(opened(), [hold(60)], None)
        await journal.close_call(closed(used=7))
        await journal.close_call(closed(used=7))
        assert await balance(journal) == Balance(spent=7, held=0)


async def test_an_overdrawn_account_refuses_and_holds_nothing(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path) as journal:
        await journal.open_call(opened(1), [hold(60)], None)
        usd = Hold(account="ada", period="2026-11-24", unit="micro_usd", amount=5, cap=None)
        with pytest.raises(OverdrawnError) as refusal:
            await journal.open_call(opened(2), [usd, hold(41)], None)
        assert (refusal.value.unit, refusal.value.wanted, refusal.value.left) == ("tokens", 41, 40)
        assert await balance(journal) == Balance(spent=0, held=60)
        assert (await journal.balance("ada", "2026-11-24", "micro_usd")).held == 0


async def test_what_several_accounts_spent_in_a_period_is_read_at_once(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path) as journal:
        for number, (name, period) in enumerate(
            [("ada", "2026-11-24"), ("ben", "2026-11-24"), ("ada", "2026-11-25"), ("eve", "x")]
        ):
            held = replace(hold(10), account=name, period=period)
            await journal.open_call(opened(number), [held, replace(held, unit="micro_usd")], None)
            await journal.close_call(closed(number, used=number + 1))
        spent = await journal.spent(["ada", "ben", "nobody"], "2026-11-24")
        assert {key: units for key, units in spent.items() if units} == {
            ("ada", "tokens"): 1,
            ("ben", "tokens"): 2,
        }
        assert spent["nobody", "tokens"] == 0


async def test_a_new_period_starts_at_zero(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as journal:
        await journal.open_call(opened(1), [hold(100)], None)
        tomorrow = replace(hold(100), period="2026-11-25")
        await journal.open_call(opened(2), [tomorrow], None)


async def test_of_many_calls_at_once_exactly_as_many_as_fit_are_let_in(
    opener: Opener, tmp_path: Path
) -> None:
    admitted: list[int] = []

    async with opener(tmp_path) as journal:

        async def ask(number: int) -> None:
            try:
                await journal.open_call(opened(number), [hold(10)], None)
            except OverdrawnError:
                return
            admitted.append(number)

        async with anyio.create_task_group() as tg:
            for number in range(64):
                tg.start_soon(ask, number)
        assert len(admitted) == 10
        assert await balance(journal) == Balance(spent=0, held=100)


async def test_a_finished_call_s_answer_is_replayed_for_its_key(
    opener: Opener, tmp_path: Path
) -> None:
    async with opener(tmp_path) as journal:
        await journal.open_call(opened(1), [], "key")
        with pytest.raises(IdempotencyConflictError, match="not finished"):
            await journal.open_call(opened(2), [], "key")
        await journal.close_call(replace(closed(1), answer="answer"))
        assert await journal.open_call(opened(3), [hold(5)], "key") == "answer"
        assert (await balance(journal)).held == 0
        with pytest.raises(IdempotencyConflictError, match="other arguments"):
            await journal.open_call(opened(4, digest="other"), [], "key")
        stranger = replace(opened(5, digest="other"), agent="ben")
        assert await journal.open_call(stranger, [], "key") is None


async def test_a_failed_call_frees_its_key(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as journal:
        await journal.open_call(opened(1), [], "key")
        await journal.close_call(closed(1, outcome="backend_unavailable"))
        assert await journal.open_call(opened(2), [], "key") is None


async def test_a_refused_call_is_on_record(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as journal:
        await journal.refuse_call(opened(), "not_permitted")
        [record] = await journal.records()
        assert (record.outcome, record.closed) == ("not_permitted", NOW + 1)


async def test_records_come_newest_first_and_filtered(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as journal:
        for number in range(5):
            await journal.refuse_call(opened(number), "busy")
        await journal.refuse_call(replace(opened(9), agent="ben"), "busy")
        assert [record.request_id for record in await journal.records(agent="ada", limit=2)] == [
            "r4",
            "r3",
        ]


@pytest.mark.parametrize("step", ["open", "close", "refuse"])
async def test_what_a_cancelled_caller_asked_for_is_written_and_it_learns_the_outcome(
    opener: Opener, tmp_path: Path, step: str
) -> None:
    async with opener(tmp_path) as journal:
        if step == "close":
            await journal.open_call(opened(), [hold(60)], None)
        learned: list[str] = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            if step == "open":
                await journal.open_call(opened(), [hold(60)], None)
            elif step == "close":
                await journal.close_call(closed(used=7))
            else:
                await journal.refuse_call(opened(), "busy")
            learned.append(step)
            await anyio.lowlevel.checkpoint()
            learned.append("went on")
        assert learned == [step]
        held, outcome = {"open": (60, ""), "close": (0, "ok"), "refuse": (0, "busy")}[step]
        assert (await balance(journal)).held == held
        assert [record.outcome for record in await journal.records()] == [outcome]


async def test_of_two_calls_at_once_with_one_key_one_is_let_in(
    opener: Opener, tmp_path: Path
) -> None:
    outcomes: list[str | None] = []

    async with opener(tmp_path) as journal:

        async def ask(number: int) -> None:
            try:
                outcomes.append(await journal.open_call(opened(number), [hold(10)], "key"))
            except IdempotencyConflictError:
                outcomes.append("refused")

        async with anyio.create_task_group() as tg:
            for number in range(4):
                tg.start_soon(ask, number)
        assert sorted(outcomes, key=str) == [None, "refused", "refused", "refused"]
        assert await balance(journal) == Balance(spent=0, held=10)


async def test_a_refused_call_leaves_its_key_free(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as journal:
        with pytest.raises(OverdrawnError):
            await journal.open_call(opened(1), [hold(101)], "key")
        assert await journal.open_call(opened(2), [hold(10)], "key") is None


async def test_many_agents_calls_settle_to_the_unit(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as journal:

        async def call(number: int) -> None:
            name = f"agent{number % 8}"
            call = replace(opened(number), agent=name)
            await journal.open_call(call, [replace(hold(10, None), account=name)], None)
            await journal.close_call(closed(number, used=number))

        async with anyio.create_task_group() as tg:
            for number in range(200):
                tg.start_soon(call, number)
        for agent in range(8):
            spent = sum(range(agent, 200, 8))
            found = await journal.balance(f"agent{agent}", "2026-11-24", "tokens")
            assert found == Balance(spent=spent, held=0)
        records = await journal.records(limit=1000)
        assert {(r.request_id, r.outcome, r.tokens) for r in records} == {
            (f"r{number}", "ok", number) for number in range(200)
        }
