import json
import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.database import Component, open_database
from backends.errors import IdempotencyConflictError, StoreError
from backends.journal import JOURNAL, SqliteJournal
from backends.journal.chain import lists_as_json
from backends.journal.processes import Process
from backends.messages import Balance, CallOpened
from tests.backends.journal.processes import run_until_killed
from tests.contracts.test_journal import NOW, closed, hold, opened
from tests.marks import asyncio_only

DIES_WITH_A_CALL_OPEN = """
import os, signal, sys
from pathlib import Path
import anyio
from backends.database import open_database
from backends.journal import JOURNAL, SqliteJournal
from tests.contracts.test_journal import hold, opened

async def main():
    async with open_database(Path(sys.argv[1]), [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: 0.0)
        await journal.recover()
        await journal.open_call(opened(), [hold(60)], "key")
        os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""


@asyncio_only  # a virtual clock jumps past the deadline while another process works
async def test_a_call_left_open_by_a_dead_process_is_charged_in_full(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await run_until_killed(DIES_WITH_A_CALL_OPEN, path)
    async with open_database(path, [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: NOW)
        assert await journal.recover() == 1
        assert await journal.balance("ada", "2026-11-24", "tokens") == Balance(spent=60, held=0)
        [record] = await journal.records()
        assert (record.outcome, record.tokens) == ("unknown", 60)
        with pytest.raises(IdempotencyConflictError, match="cut off by a crash"):
            await journal.open_call(opened(2), [], "key")
        assert await journal.verify() is None


async def test_a_call_of_a_living_kernel_is_left_alone(tmp_path: Path) -> None:
    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        first = SqliteJournal(database, now=lambda: NOW)
        await first.recover()
        await first.open_call(opened(), [hold(60)], None)
        second = SqliteJournal(database, now=lambda: NOW)
        assert await second.recover() == 0
        await first.close_call(closed(used=1))
        assert await first.balance("ada", "2026-11-24", "tokens") == Balance(spent=1, held=0)


async def test_audit_records_cannot_be_changed_and_a_change_behind_sqlite_s_back_is_found(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    async with open_database(path, [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: NOW)
        await journal.recover()
        for number in range(5):
            await journal.refuse_call(opened(number), "busy")
        assert await journal.verify() is None

        def change(connection: apsw.Connection) -> None:
            connection.execute("UPDATE audit SET agent = 'eve' WHERE seq = 3")

        with pytest.raises(StoreError):
            await database.write(change)

        def change_all_the_same(connection: apsw.Connection) -> None:
            connection.execute("DROP TRIGGER audit_keep; DROP TRIGGER audit_stay")
            change(connection)

        await database.write(change_all_the_same)
        assert await journal.verify() == 3


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"agent": "ada"}, "audit_agent"),
        ({"request_id": "r3"}, "audit_request"),
        ({"agent": "ada", "request_id": "r3"}, "audit_request"),
    ],
)
async def test_the_records_of_an_agent_or_a_request_are_looked_up(
    tmp_path: Path, asked: dict[str, str], index: str
) -> None:
    statements: list[str] = []

    def listen(connection: apsw.Connection) -> None:
        def note(cursor: apsw.Cursor, sql: str, bindings: object) -> bool:
            del cursor, bindings
            statements.append(sql)
            return True

        connection.set_exec_trace(note)

    def plan(connection: apsw.Connection) -> str:
        connection.set_exec_trace(None)
        [sql] = [each for each in statements if "FROM audit" in each]
        values = ["x"] * (sql.count("?") - 1)
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", [*values, 1])
        return " / ".join(str(row[3]) for row in rows)

    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: NOW)
        await journal.recover()
        for number in range(5):
            await journal.refuse_call(opened(number), "busy")
        await database.read(listen)
        found = await journal.records(**asked, limit=3)
        steps = await database.read(plan)
    expected = ["r3"] if "request_id" in asked else ["r4", "r3", "r2"]
    assert [record.request_id for record in found] == expected
    assert f"SEARCH o USING INDEX {index}" in steps
    assert "SCAN" not in steps


async def test_idempotency_keys_are_forgotten_after_a_week(tmp_path: Path) -> None:
    async with open_database(tmp_path / "journal.db", [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: NOW)
        await journal.recover()
        await journal.open_call(opened(), [], "key")
        await journal.close_call(closed())
        later = SqliteJournal(database, now=lambda: NOW + 8 * 86_400)
        await later.recover()
        other = CallOpened(
            request_id="r9", agent="ada", op="op", target="t", digest="other", at=NOW
        )
        assert await later.open_call(other, [], "key") is None


def test_a_process_is_alive_until_it_ends_and_its_number_alone_does_not_name_it() -> None:
    assert Process.current().is_alive()
    assert not Process(os.getpid(), "another boot/1").is_alive()
    assert not Process(_number_of_no_process(), "").is_alive()


async def test_a_call_left_open_by_an_older_version_is_charged_in_full(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    older = Component("journal", JOURNAL.migrations[:1])
    names = ["ada", 'b\n"é,],[']

    def leave_open(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO kernel VALUES('k', ?, '')", (_number_of_no_process(),))
        for name in names:
            connection.execute(
                "INSERT INTO account VALUES(?, '2026-11-24', 'tokens', 1, 20)", (name,)
            )
        connection.execute("INSERT INTO open_call VALUES('r1', 'k', 'ada', 'op', 't', 'd')")
        connection.execute("INSERT INTO open_call VALUES('r2', 'k', 'ada', 'op', 't', 'd')")
        for name in names:
            connection.execute(
                "INSERT INTO hold VALUES('r1', ?, '2026-11-24', 'tokens', 20)", (name,)
            )

    async with open_database(path, [older]) as database:
        await database.write(leave_open)
    async with open_database(path, [JOURNAL]) as database:
        journal = SqliteJournal(database, now=lambda: NOW)
        assert await journal.recover() == 2
        for name in names:
            found = await journal.balance(name, "2026-11-24", "tokens")
            assert found == Balance(spent=21, held=0)


def _number_of_no_process() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(timeout=60)
    return ended.pid


@given(st.lists(st.lists(st.text() | st.integers() | st.floats(allow_nan=False)), min_size=1))
def test_lists_written_together_read_as_if_written_one_by_one(lists: list[list[object]]) -> None:
    assert lists_as_json(lists) == [json.dumps(each, separators=(",", ":")) for each in lists]
