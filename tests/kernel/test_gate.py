from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from aios_mcp.errors import NotPermittedError, failure_of
from aios_mcp.kernel.gate import Entry, Gate
from backends.database import open_database
from backends.errors import StoreError
from backends.journal import JOURNAL, SqliteJournal
from backends.messages import Hold
from backends.protocols import Journal
from backends.scripted import ListJournal
from tests.backends.database.lines import fill, occupied
from tests.kernel.kernels import NOW, agent
from tests.marks import virtual_time

HOLD = Hold(account="ada", period="2026-11-24", unit="tokens", amount=10, cap=10)


def allowed() -> None:
    return None


def entry(once: str | None = None, holds: Sequence[Hold] = (HOLD,)) -> Entry:
    return Entry(
        op="op", target="t", arguments={"a": 1}, check=allowed, holds=lambda: holds, once=once
    )


def gate(journal: Journal) -> Gate:
    return Gate(journal, digest_key=b"k", now=lambda: NOW, new_id=iter("123456789").__next__)


async def test_what_was_used_replaces_what_was_held() -> None:
    journal = ListJournal()
    async with gate(journal).enter(agent(), entry()) as call:
        assert (await journal.balance("ada", "2026-11-24", "tokens")).held == 10
        call.used["tokens"] = 3
    balance = await journal.balance("ada", "2026-11-24", "tokens")
    assert (balance.spent, balance.held) == (3, 0)


async def test_an_unexpected_error_is_recorded_as_internal_and_settled() -> None:
    journal = ListJournal()
    with pytest.raises(ZeroDivisionError):
        async with gate(journal).enter(agent(), entry()):
            _ = 1 / 0
    assert [record.outcome for record in journal.audit] == ["internal"]
    assert (await journal.balance("ada", "2026-11-24", "tokens")).held == 0


@virtual_time
async def test_a_cancelled_call_is_settled_although_its_task_is_cancelled() -> None:
    journal = ListJournal()
    with anyio.move_on_after(5):
        async with gate(journal).enter(agent(), entry()) as call:
            call.used["tokens"] = 2
            await anyio.sleep(60)
    [record] = journal.audit
    assert (record.outcome, record.tokens, record.run_ms) == ("cancelled", 2, 5000.0)


async def test_a_call_cancelled_while_it_is_let_in_holds_nothing_afterwards() -> None:
    journal = ListJournal()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with gate(journal).enter(agent(), entry()):
            await anyio.lowlevel.checkpoint()
            raise AssertionError("must not work")
    assert [record.outcome for record in journal.audit] == ["cancelled"]
    assert (await journal.balance("ada", "2026-11-24", "tokens")).held == 0


async def test_a_refused_check_holds_nothing_and_asks_for_no_holds() -> None:
    journal = ListJournal()

    def refuse() -> None:
        raise NotPermittedError("no", rule="r")

    def never() -> tuple[Hold, ...]:
        raise AssertionError("not expected")

    refused = Entry(op="op", target="t", arguments=None, check=refuse, holds=never)
    with pytest.raises(NotPermittedError):
        async with gate(journal).enter(agent(), refused):
            raise AssertionError("must not be let in")
    assert [record.outcome for record in journal.audit] == ["not_permitted"]


async def test_a_failure_names_the_audit_record_of_its_call() -> None:
    journal = ListJournal()

    def refuse() -> None:
        raise NotPermittedError("no", rule="r")

    refused = Entry(op="op", target="t", arguments=None, check=refuse)
    with pytest.raises(NotPermittedError) as at_the_gate:
        async with gate(journal).enter(agent(), refused):
            raise AssertionError("must not be let in")
    with pytest.raises(StoreError) as at_work:
        async with gate(journal).enter(agent(), entry()):
            raise StoreError("disk full")
    failures = [failure_of(at_the_gate.value), failure_of(at_work.value)]
    named = [failure.request_id for failure in failures if failure is not None]
    assert named == [record.request_id for record in journal.audit]


async def test_a_result_is_not_lost_when_its_end_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results: list[str] = []
    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: NOW)
        await journal.recover()
        async with AsyncExitStack() as stack:
            async with gate(journal).enter(agent(), entry()) as call:
                call.used["tokens"] = 1
                await stack.enter_async_context(occupied(database))
                fill(database)
            results.append("result")
        assert (results, journal.unsettled("ada")) == (["result"], 1)
        assert "calls not settled" in caplog.text
        async with gate(journal).enter(agent(), entry(holds=())):
            assert await journal.spent(["ada"], HOLD.period) == {("ada", "tokens"): 1}


async def test_a_replayed_call_does_no_work_and_holds_nothing() -> None:
    journal = ListJournal()
    first = gate(journal)
    async with first.enter(agent(), entry("k")) as call:
        call.answer = '{"x":1}'
    async with first.enter(agent(), entry("k")) as call:
        assert call.replay == '{"x":1}'
    assert len(journal.audit) == 1
