"""Writing what many calls have to say at once: accounts are read once, and rows go in together."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import apsw

from backends.database import Value, fetch_one, insert
from backends.errors import IdempotencyConflictError, OverdrawnError
from backends.journal.chain import append, lists_as_json
from backends.messages import CallClosed, CallOpened, Hold, Unit

# In one row: at each of many the event loop's thread may take the interpreter's lock away, and keep
# it for milliseconds.
_BALANCES = """
SELECT json_group_array(json_array(a.account, a.period, a.unit, a.spent, a.held))
FROM json_each(?) AS key CROSS JOIN account AS a
ON a.account = key.value ->> 0 AND a.period = key.value ->> 1 AND a.unit = key.value ->> 2
"""
_UPDATE = "ON CONFLICT DO UPDATE SET spent = excluded.spent, held = excluded.held"

Account: TypeAlias = tuple[str, str, Unit]


@dataclass(slots=True, eq=False)
class Opening:
    """A call to be let in, with what it holds and the idempotency key it came with."""

    opened: CallOpened
    holds: Sequence[Hold]
    once: str | None


@dataclass(slots=True, eq=False)
class Closing:
    """How a call that was let in has ended."""

    opening: Opening
    closed: CallClosed


@dataclass(slots=True, eq=False)
class Refusal:
    """A call that was not let in, and why."""

    opened: CallOpened
    outcome: str


Entry: TypeAlias = Opening | Closing | Refusal
Outcome: TypeAlias = str | OverdrawnError | IdempotencyConflictError | None


def write_entries(
    connection: apsw.Connection, kernel: str, entries: Sequence[Entry]
) -> list[Outcome]:
    """Write entries in their order.

    Returns:
        For each None, or of an opening the answer that stands for the call, or why it is refused;
        nothing is written then.
    """
    page = _Page(connection, kernel, entries)
    outcomes = [page.enter(entry) for entry in entries]
    page.save()
    return outcomes


@dataclass(slots=True)
class _Balance:
    spent: int = 0
    held: int = 0


class _Page:
    """Some entries, worked out in memory against accounts that the transaction keeps still."""

    def __init__(self, connection: apsw.Connection, kernel: str, entries: Iterable[Entry]) -> None:
        self._connection = connection
        self._kernel = kernel
        self._balances = _balances(connection, entries)
        self._changed: set[Account] = set()
        self._opened: list[CallOpened] = []
        self._holds: list[list[Value]] = []
        self._closed: list[str] = []
        self._records: list[Sequence[Value]] = []

    def enter(self, entry: Entry) -> Outcome:
        match entry:
            case Opening():
                return self._open(entry)
            case Closing():
                self._close(entry)
            case Refusal(opened, outcome):
                self._records.append(_record("refuse", opened, outcome))
        return None

    def save(self) -> None:
        balances = self._balances
        rows = [
            (*account, balances[account].spent, balances[account].held) for account in self._changed
        ]
        insert(self._connection, "account(account, period, unit, spent, held)", rows, _UPDATE)
        if self._opened:
            self._save_opened()
        if self._closed:
            self._connection.execute(
                "DELETE FROM open_call WHERE request_id IN (SELECT value FROM json_each(?))",
                (json.dumps(self._closed),),
            )
        if self._records:
            append(self._connection, self._records)

    def _save_opened(self) -> None:
        rows = [
            (
                opened.request_id,
                self._kernel,
                opened.agent,
                opened.op,
                opened.target,
                opened.digest,
                holds,
            )
            for opened, holds in zip(self._opened, lists_as_json(self._holds), strict=True)
        ]
        columns = "request_id, kernel, agent, op, target, digest, holds"
        insert(self._connection, f"open_call({columns})", rows)

    def _open(self, opening: Opening) -> Outcome:
        opened, once = opening.opened, opening.once
        answer = None if once is None else _answer_of(self._connection, opened, once)
        if answer is not None:
            return answer
        for hold in opening.holds:
            used = self._balances[_account(hold)]
            left = None if hold.cap is None else hold.cap - used.spent - used.held
            if left is not None and hold.amount > left:
                return OverdrawnError(
                    hold.account, unit=hold.unit, wanted=hold.amount, left=max(0, left)
                )
        if once is not None:
            self._connection.execute(
                "INSERT INTO once VALUES(?, ?, ?, ?, 'running', NULL, ?)",
                (opened.agent, once, opened.digest, opened.request_id, opened.at),
            )
        for hold in opening.holds:
            self._move(hold, held=hold.amount)
        self._opened.append(opened)
        self._holds.append([value for hold in opening.holds for value in _values(hold)])
        self._records.append(_record("open", opened, ""))
        return None

    def _close(self, closing: Closing) -> None:
        opening, closed = closing.opening, closing.closed
        for hold in opening.holds:
            self._move(hold, held=-hold.amount, spent=closed.used.get(hold.unit, 0))
        if opening.once is not None:
            _keep_answer(self._connection, closed)
        self._closed.append(closed.request_id)
        self._records.append(_record("close", opening.opened, closed.outcome, closed))

    def _move(self, hold: Hold, *, held: int, spent: int = 0) -> None:
        account = _account(hold)
        balance = self._balances[account]
        balance.spent += spent
        balance.held += held
        self._changed.add(account)


def _balances(connection: apsw.Connection, entries: Iterable[Entry]) -> dict[Account, _Balance]:
    openings = [
        entry.opening if isinstance(entry, Closing) else entry
        for entry in entries
        if not isinstance(entry, Refusal)
    ]
    accounts = {_account(hold) for opening in openings for hold in opening.holds}
    balances = {account: _Balance() for account in accounts}
    if accounts:
        [found] = fetch_one(connection, _BALANCES, (json.dumps(list(accounts)),)) or ("[]",)
        for account, period, unit, spent, held in json.loads(found):
            balances[account, period, unit] = _Balance(spent, held)
    return balances


def _account(hold: Hold) -> Account:
    return hold.account, hold.period, hold.unit


def _values(hold: Hold) -> tuple[Value, ...]:
    return hold.account, hold.period, hold.unit, hold.amount


def _answer_of(connection: apsw.Connection, opened: CallOpened, key: str) -> Outcome:
    row = fetch_one(
        connection,
        "SELECT digest, state, answer FROM once WHERE agent = ? AND key = ?",
        (opened.agent, key),
    )
    if row is None:
        return None
    digest, state, answer = row
    if digest != opened.digest:
        return IdempotencyConflictError("the idempotency key was used before with other arguments")
    if state == "running":
        return IdempotencyConflictError("the first call with this idempotency key has not finished")
    if state == "unknown":
        return IdempotencyConflictError(
            "the first call with this idempotency key was cut off by a crash and may have taken"
            " effect; check, then use a new key"
        )
    return str(answer)


def _keep_answer(connection: apsw.Connection, closed: CallClosed) -> None:
    if closed.answer is None:
        connection.execute("DELETE FROM once WHERE request_id = ?", (closed.request_id,))
        return
    connection.execute(
        "UPDATE once SET state = 'done', answer = ? WHERE request_id = ?",
        (closed.answer, closed.request_id),
    )


def _record(
    phase: str, opened: CallOpened, outcome: str, closed: CallClosed | None = None
) -> Sequence[Value]:
    about = (opened.request_id, opened.agent, opened.op, opened.target, opened.digest)
    if closed is None:
        return (phase, *about, outcome, opened.at, 0, 0, 0.0, 0.0, "")
    return (
        phase,
        *about,
        outcome,
        closed.at,
        closed.used.get("tokens", 0),
        closed.used.get("micro_usd", 0),
        closed.queue_ms,
        closed.run_ms,
        closed.place,
    )
