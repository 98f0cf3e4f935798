"""Audit trail and ledger: a call's cost is held before it starts, what it did is recorded."""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apsw

from backends.database import Database, fetch, fetch_one
from backends.errors import IdempotencyConflictError, OverdrawnError
from backends.journal import chain
from backends.journal.processes import Process
from backends.messages import AuditRecord, Balance, CallClosed, CallOpened, Hold, Unit

_KEEP_KEYS_SECONDS = 7 * 86_400.0

logger = logging.getLogger(__name__)


class SqliteJournal:
    """A journal in the database. Call `recover` once before its first use.

    Invariants, shown by `tests/contracts/test_journal.py`:
        - an account with a cap never holds and spends more than it before a call is let in;
        - a call is settled once, by itself or by the recovery after its process died.
    """

    def __init__(self, database: Database, *, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        self._kernel = secrets.token_hex(8)

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

        def work(connection: apsw.Connection) -> str | None:
            if once is not None:
                answer = _claim(connection, opened, once)
                if answer is not None:
                    return answer
            connection.execute(
                "INSERT INTO open_call VALUES(?, ?, ?, ?, ?, ?)",
                (
                    opened.request_id,
                    self._kernel,
                    opened.agent,
                    opened.op,
                    opened.target,
                    opened.digest,
                ),
            )
            for hold in holds:
                _take(connection, opened.request_id, hold)
            _record(connection, "open", opened, "", opened.at)
            return None

        return await self._database.write(work)

    async def close_call(self, closed: CallClosed, /) -> None:
        """Replace the holds by what was used and record the outcome, in one transaction."""

        def work(connection: apsw.Connection) -> None:
            opened = _opened(connection, closed.request_id)
            if opened is None:
                logger.error("call closed twice", extra={"request_id": closed.request_id})
                return
            _settle(connection, closed)
            _answer(connection, closed)
            _record(connection, "close", opened, closed.outcome, closed.at, closed)
            connection.execute("DELETE FROM open_call WHERE request_id = ?", (closed.request_id,))

        await self._database.write(work)

    async def refuse_call(self, opened: CallOpened, outcome: str, /) -> None:
        """Record a call that was not let in."""
        await self._database.write(
            lambda connection: _record(connection, "refuse", opened, outcome, opened.at)
        )

    async def balance(self, account: str, period: str, unit: Unit, /) -> Balance:
        """Read one account."""

        def work(connection: apsw.Connection) -> Balance:
            row = fetch_one(
                connection,
                "SELECT spent, held FROM account WHERE account = ? AND period = ? AND unit = ?",
                (account, period, unit),
            )
            return Balance(spent=row[0], held=row[1]) if row else Balance(spent=0, held=0)

        return await self._database.read(work)

    async def records(
        self, *, agent: str | None = None, request_id: str | None = None, limit: int = 100
    ) -> tuple[AuditRecord, ...]:
        """Read audit records, newest first."""

        def work(connection: apsw.Connection) -> tuple[AuditRecord, ...]:
            rows = fetch(connection, _RECORDS, (agent, agent, request_id, request_id, limit))
            return tuple(_audit_record(row) for row in rows)

        return await self._database.read(work)

    async def verify(self) -> int | None:
        """Walk the audit trail; gives the number of the first record that was changed, or None."""
        return await self._database.read(chain.first_bad)

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
        left = fetch(connection, "SELECT request_id FROM open_call WHERE kernel = ?", (kernel,))
        for (request_id,) in left:
            used: dict[Unit, int] = dict(
                fetch(
                    connection,
                    "SELECT unit, sum(amount) FROM hold WHERE request_id = ? GROUP BY unit",
                    (request_id,),
                )
            )
            closed = CallClosed(request_id=request_id, at=self._now(), outcome="unknown", used=used)
            opened = _opened(connection, request_id)
            assert opened is not None
            _settle(connection, closed)
            connection.execute(
                "UPDATE once SET state = 'unknown' WHERE request_id = ?", (request_id,)
            )
            _record(connection, "close", opened, "unknown", closed.at, closed)
            connection.execute("DELETE FROM open_call WHERE request_id = ?", (request_id,))
        connection.execute("DELETE FROM kernel WHERE id = ?", (kernel,))
        return len(left)


_RECORDS = """
SELECT o.seq, o.request_id, o.agent, o.op, o.target, o.digest, coalesce(c.outcome, o.outcome),
       o.at, CASE o.phase WHEN 'refuse' THEN o.at ELSE c.at END, coalesce(c.tokens, 0),
       coalesce(c.micro_usd, 0), coalesce(c.queue_ms, 0.0), coalesce(c.run_ms, 0.0),
       coalesce(c.place, '')
FROM audit o LEFT JOIN audit c ON c.request_id = o.request_id AND c.phase = 'close'
WHERE o.phase <> 'close' AND (? IS NULL OR o.agent = ?) AND (? IS NULL OR o.request_id = ?)
ORDER BY o.seq DESC LIMIT ?
"""


def _claim(connection: apsw.Connection, opened: CallOpened, key: str) -> str | None:
    row = fetch_one(
        connection,
        "SELECT digest, state, answer FROM once WHERE agent = ? AND key = ?",
        (opened.agent, key),
    )
    if row is None:
        connection.execute(
            "INSERT INTO once VALUES(?, ?, ?, ?, 'running', NULL, ?)",
            (opened.agent, key, opened.digest, opened.request_id, opened.at),
        )
        return None
    digest, state, answer = row
    if digest != opened.digest:
        raise IdempotencyConflictError("the idempotency key was used before with other arguments")
    if state == "running":
        raise IdempotencyConflictError("the first call with this idempotency key has not finished")
    if state == "unknown":
        raise IdempotencyConflictError(
            "the first call with this idempotency key was cut off by a crash and may have taken"
            " effect; check, then use a new key"
        )
    return str(answer)


def _take(connection: apsw.Connection, request_id: str, hold: Hold) -> None:
    key = (hold.account, hold.period, hold.unit)
    connection.execute(
        "INSERT INTO account(account, period, unit) VALUES(?, ?, ?) ON CONFLICT DO NOTHING", key
    )
    [(used,)] = fetch(
        connection,
        "SELECT spent + held FROM account WHERE account = ? AND period = ? AND unit = ?",
        key,
    )
    if hold.cap is not None and used + hold.amount > hold.cap:
        raise OverdrawnError(unit=hold.unit, wanted=hold.amount, left=max(0, hold.cap - used))
    connection.execute(
        "UPDATE account SET held = held + ? WHERE account = ? AND period = ? AND unit = ?",
        (hold.amount, *key),
    )
    connection.execute("INSERT INTO hold VALUES(?, ?, ?, ?, ?)", (request_id, *key, hold.amount))


def _settle(connection: apsw.Connection, closed: CallClosed) -> None:
    holds = fetch(
        connection,
        "SELECT account, period, unit, amount FROM hold WHERE request_id = ?",
        (closed.request_id,),
    )
    for account, period, unit, amount in holds:
        connection.execute(
            "UPDATE account SET held = held - ?, spent = spent + ?"
            " WHERE account = ? AND period = ? AND unit = ?",
            (amount, closed.used.get(unit, 0), account, period, unit),
        )


def _answer(connection: apsw.Connection, closed: CallClosed) -> None:
    if closed.answer is None:
        connection.execute("DELETE FROM once WHERE request_id = ?", (closed.request_id,))
        return
    connection.execute(
        "UPDATE once SET state = 'done', answer = ? WHERE request_id = ?",
        (closed.answer, closed.request_id),
    )


def _opened(connection: apsw.Connection, request_id: str) -> CallOpened | None:
    row = fetch_one(
        connection,
        "SELECT agent, op, target, digest FROM open_call WHERE request_id = ?",
        (request_id,),
    )
    if row is None:
        return None
    agent, op, target, digest = row
    return CallOpened(
        request_id=request_id, agent=agent, op=op, target=target, digest=digest, at=0.0
    )


def _record(
    connection: apsw.Connection,
    phase: str,
    opened: CallOpened,
    outcome: str,
    at: float,
    closed: CallClosed | None = None,
) -> None:
    used: Mapping[Unit, int] = closed.used if closed else {}
    chain.append(
        connection,
        (
            phase,
            opened.request_id,
            opened.agent,
            opened.op,
            opened.target,
            opened.digest,
            outcome,
            at,
            used.get("tokens", 0),
            used.get("micro_usd", 0),
            closed.queue_ms if closed else 0.0,
            closed.run_ms if closed else 0.0,
            closed.place if closed else "",
        ),
    )


def _audit_record(row: tuple[Any, ...]) -> AuditRecord:
    # The columns of _RECORDS stand in the order of the fields.
    return AuditRecord(**dict(zip(AuditRecord.__slots__, row, strict=True)))
