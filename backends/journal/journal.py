"""Audit trail and ledger: a call's cost is held before it starts, what it did is recorded."""

import json
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import anyio
import apsw

from backends.database import Database, fetch, fetch_one
from backends.errors import StoreError
from backends.journal import chain
from backends.journal.entries import Closing, Entry, Opening, Outcome, Refusal, write_entries
from backends.journal.processes import Process
from backends.messages import AuditRecord, Balance, CallClosed, CallOpened, Hold, Unit

_KEEP_KEYS_SECONDS = 7 * 86_400.0
_SETTLE_SECONDS = 5.0  # at the end of the process
_PAUSE_SECONDS = 0.5

logger = logging.getLogger(__name__)


class SqliteJournal:
    """A journal in the database. Call `recover` once before its first use.

    A call that is let in is on disk before it works. Its end is on disk a moment after it: what
    fails or dies in between leaves it held in full, which is never too little.

    Invariants, shown by `tests/contracts/test_journal.py`:
        - an account with a cap never holds and spends more than it before a call is let in;
        - a call is settled once, by itself or by the recovery after its process died;
        - who reads here finds every call settled that was closed before.
    """

    def __init__(self, database: Database, *, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        self._kernel = secrets.token_hex(8)
        self._open: dict[str, Opening] = {}
        self._late: list[Closing] = []  # could not be written
        self._last: anyio.Event | None = None  # of the closings under way

    async def recover(self) -> int:
        """Settle what dead processes left open; gives how many calls.

        Their holds are charged in full, since nobody knows what was used: a budget may be
        underspent after a crash, never overspent.
        """
        me = Process.current()
        count = await self._database.write(lambda connection: self._recover(connection, me))
        if count:
            logger.warning("settled calls of a dead process", extra={"calls": count})
        return count

    async def open_call(
        self, opened: CallOpened, holds: Sequence[Hold], once: str | None, /
    ) -> str | None:
        """Record the intent and set the holds aside, in one transaction."""
        self._settle_late()
        opening = Opening(opened, holds, once)
        answer = await self._write(opening)
        if answer is None:
            self._open[opened.request_id] = opening
        return answer

    async def close_call(self, closed: CallClosed, /) -> None:
        """Replace the holds by what was used and record the outcome, in one transaction.

        Returns when that is in line for the disk; with an idempotency key, when it is there. What
        cannot be written is logged, and written with the next call.
        """
        opening = self._open.pop(closed.request_id, None)
        if opening is None:
            logger.error("call closed twice", extra={"request_id": closed.request_id})
            return
        self._settle_late()
        closing = Closing(opening, closed)
        if opening.once is None:
            self._settle(closing)
            return
        try:
            await self._write(closing)  # who asks again is promised this answer
        except StoreError as exc:
            self._keep((closing,), exc)

    async def settle(self) -> None:
        """Write what could not be written, before the process ends; gives up after some seconds."""
        with anyio.move_on_after(_SETTLE_SECONDS, shield=True):
            while True:
                self._settle_late()
                await self._settled()
                if not self._late:
                    break
                await anyio.sleep(_PAUSE_SECONDS)

    def unsettled(self, agent: str, /) -> int:
        """Count the agent's calls whose end could not be written yet."""
        return sum(each.opening.opened.agent == agent for each in self._late)

    async def refuse_call(self, opened: CallOpened, outcome: str, /) -> None:
        """Record a call that was not let in."""
        await self._write(Refusal(opened, outcome))

    async def balance(self, account: str, period: str, unit: Unit, /) -> Balance:
        """Read one account."""

        def work(connection: apsw.Connection) -> Balance:
            row = fetch_one(
                connection,
                "SELECT spent, held FROM account WHERE account = ? AND period = ? AND unit = ?",
                (account, period, unit),
            )
            return Balance(spent=row[0], held=row[1]) if row else Balance(spent=0, held=0)

        await self._settled()
        return await self._database.read(work)

    async def spent(self, accounts: Collection[str], period: str, /) -> Counter[tuple[str, Unit]]:
        """Count the units of each account that were spent in a period; 0 where nothing was."""
        bindings = (json.dumps(list(accounts)), period)

        def work(connection: apsw.Connection) -> Counter[tuple[str, Unit]]:
            rows = fetch(connection, _SPENT, bindings)
            return Counter({(account, unit): spent for account, unit, spent in rows})

        await self._settled()
        return await self._database.read(work)

    async def records(
        self, *, agent: str | None = None, request_id: str | None = None, limit: int = 100
    ) -> tuple[AuditRecord, ...]:
        """Read audit records, newest first."""
        # Only what is asked for stands in the statement: an index is of no use to `? IS NULL OR`.
        wanted, bindings = "", list[str]()
        for column, value in (("request_id", request_id), ("agent", agent)):
            if value is not None:
                # One index: of the records of a request its agent's are picked by looking.
                wanted += f" AND {'+' if bindings else ''}o.{column} = ?"
                bindings.append(value)
        sql = _RECORDS.format(wanted=wanted)

        def work(connection: apsw.Connection) -> tuple[AuditRecord, ...]:
            rows = fetch(connection, sql, (*bindings, limit))
            return tuple(_audit_record(row) for row in rows)

        await self._settled()
        return await self._database.read(work)

    async def verify(self) -> int | None:
        """Walk the audit trail; gives the number of the first record that was changed, or None."""
        return await self._database.read(chain.first_bad)

    async def _write(self, entry: Entry) -> str | None:
        return await self._database.write_with_others(self._write_all, (entry,))

    def _write_all(
        self, connection: apsw.Connection, all_entries: Sequence[Sequence[Entry]]
    ) -> list[Outcome]:
        outcomes = iter(
            write_entries(
                connection, self._kernel, [entry for entries in all_entries for entry in entries]
            )
        )
        # Of several entries only closings, whose outcome is None, so that the last one's counts.
        return [[next(outcomes) for _ in entries][-1] for entries in all_entries]

    def _settle_late(self) -> None:
        if self._late:
            late, self._late = self._late, []
            self._settle(*late)

    def _settle(self, *closings: Closing) -> None:
        failed = partial(self._keep, closings)
        try:
            self._last = self._database.send(self._write_all, closings, failed=failed)
        except StoreError as exc:
            failed(exc)

    def _keep(self, closings: Sequence[Closing], exc: BaseException) -> None:
        ids = [each.closed.request_id for each in closings]
        logger.error("calls not settled", exc_info=exc, extra={"request_ids": ids})
        if isinstance(exc, StoreError):
            self._late += closings

    async def _settled(self) -> None:
        if self._last is not None:
            await self._last.wait()

    def _recover(self, connection: apsw.Connection, me: Process) -> int:
        connection.execute("INSERT INTO kernel VALUES(?, ?, ?)", (self._kernel, me.pid, me.started))
        connection.execute(
            "DELETE FROM once WHERE created < ? AND state <> 'running'",
            (self._now() - _KEEP_KEYS_SECONDS,),
        )
        count = 0
        for kernel, pid, started in fetch(connection, "SELECT * FROM kernel"):
            if kernel != self._kernel and not Process(pid, started).is_alive():
                count += self._settle_for(connection, kernel)
        return count

    def _settle_for(self, connection: apsw.Connection, kernel: str) -> int:
        left = fetch(connection, _OPEN_CALLS, (kernel,))
        write_entries(connection, kernel, [_unknown_end(row, self._now()) for row in left])
        for request_id, *_ in left:
            connection.execute(
                "UPDATE once SET state = 'unknown' WHERE request_id = ?", (request_id,)
            )
        connection.execute("DELETE FROM kernel WHERE id = ?", (kernel,))
        return len(left)


_OPEN_CALLS = "SELECT request_id, agent, op, target, digest, holds FROM open_call WHERE kernel = ?"
_SPENT = """
SELECT a.account, a.unit, a.spent
FROM json_each(?) AS name CROSS JOIN account AS a ON a.account = name.value AND a.period = ?
"""
_RECORDS = """
SELECT o.seq, o.request_id, o.agent, o.op, o.target, o.digest, coalesce(c.outcome, o.outcome),
       o.at, CASE o.phase WHEN 'refuse' THEN o.at ELSE c.at END, coalesce(c.tokens, 0),
       coalesce(c.micro_usd, 0), coalesce(c.queue_ms, 0.0), coalesce(c.run_ms, 0.0),
       coalesce(c.place, '')
FROM audit o LEFT JOIN audit c ON c.request_id = o.request_id AND c.phase = 'close'
WHERE o.phase <> 'close'{wanted}
ORDER BY o.seq DESC LIMIT ?
"""


def _unknown_end(row: tuple[Any, ...], now: float) -> Closing:
    request_id, agent, op, target, digest, holds_json = row
    opened = CallOpened(
        request_id=request_id, agent=agent, op=op, target=target, digest=digest, at=0.0
    )
    flat = iter(json.loads(holds_json))
    holds = [
        Hold(account=account, period=period, unit=unit, amount=amount, cap=None)
        for account, period, unit, amount in zip(flat, flat, flat, flat, strict=True)
    ]
    used: dict[Unit, int] = {}
    for hold in holds:
        used[hold.unit] = max(used.get(hold.unit, 0), hold.amount)
    closed = CallClosed(request_id=request_id, at=now, outcome="unknown", used=used)
    return Closing(Opening(opened, holds, None), closed)


def _audit_record(row: tuple[Any, ...]) -> AuditRecord:
    # The columns of _RECORDS stand in the order of the fields.
    return AuditRecord(**dict(zip(AuditRecord.__slots__, row, strict=True)))
