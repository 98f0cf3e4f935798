"""Deterministic backends that pass the contract tests: for tests, benchmarks and examples."""

from collections import Counter
from collections.abc import Collection, Sequence

import anyio
import anyio.lowlevel

from backends.errors import IdempotencyConflictError, OverdrawnError, ToolNotFoundError
from backends.messages import (
    AuditRecord,
    Balance,
    CallClosed,
    CallOpened,
    Completion,
    CoreStatus,
    GenerateRequest,
    Hold,
    JsonObject,
    Piece,
    ServerStatus,
    ToolProgress,
    ToolResult,
    ToolSpec,
    Unit,
    Usage,
)
from backends.protocols import Emit, OnProgress, Turn
from backends.turns import UNINTERRUPTED


class EchoCore:
    """Answers with the words of the last message, one piece and one token per word."""

    def __init__(
        self, *, seconds_per_token: float = 0.0, fails_with: Exception | None = None
    ) -> None:
        self._seconds_per_token = seconds_per_token
        self._fails_with = fails_with

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        """Echo, as fast as `seconds_per_token` allows, or raise what it was told to."""
        await anyio.lowlevel.checkpoint()
        if self._fails_with is not None:
            raise self._fails_with
        words = request.messages[-1].text.split()
        answer = [word + " " for word in words[: request.max_tokens]]
        for word in answer:
            await anyio.sleep(self._seconds_per_token)
            await emit(Piece(word, 1))
        prompt_tokens = sum(len(message.text.split()) for message in request.messages)
        return Completion(
            text="".join(answer),
            reason="stop" if len(answer) == len(words) else "length",
            usage=Usage(input_tokens=prompt_tokens, output_tokens=len(answer)),
        )

    def status(self) -> CoreStatus:
        """Say that it echoes."""
        return CoreStatus(model="echo", state="ready", context_tokens=8192)


class EchoTools:
    """A tool server with two tools: `echo` gives its text back, `wait` takes its time."""

    async def list_tools(self, /) -> tuple[ToolSpec, ...]:
        """List both."""
        await anyio.lowlevel.checkpoint()
        return (
            ToolSpec(
                name="echo",
                description="Give the text back.",
                input_schema={"type": "object", "properties": {"text": {"type": "string"}}},
            ),
            ToolSpec(
                name="wait",
                description="Wait for some seconds and report progress.",
                input_schema={"type": "object", "properties": {"seconds": {"type": "number"}}},
            ),
        )

    async def call(
        self, name: str, arguments: JsonObject, on_progress: OnProgress, errand: str = "", /
    ) -> ToolResult:
        """Run one of them."""
        del errand
        await anyio.lowlevel.checkpoint()
        if name == "echo":
            return ToolResult(content=({"type": "text", "text": str(arguments.get("text", ""))},))
        if name == "wait":
            seconds = float(str(arguments.get("seconds", 1)))
            await on_progress(ToolProgress(0.0, seconds))
            await anyio.sleep(seconds)
            await on_progress(ToolProgress(seconds, seconds))
            return ToolResult(content=({"type": "text", "text": "done"},))
        raise ToolNotFoundError(f"no tool {name!r}")

    def status(self) -> ServerStatus:
        """Say that it is there."""
        return ServerStatus(state="ready", tools=2)


class ListJournal:
    """A journal in memory. It forgets everything at the end of the process."""

    def __init__(self) -> None:
        self.audit: list[AuditRecord] = []
        self._holds: dict[str, tuple[Hold, ...]] = {}
        self._balances: dict[tuple[str, str, Unit], Balance] = {}
        self._once: dict[tuple[str, str], tuple[str, str, str | None]] = {}

    async def open_call(
        self, opened: CallOpened, holds: Sequence[Hold], once: str | None, /
    ) -> str | None:
        """Record the intent and set the holds aside."""
        await anyio.lowlevel.cancel_shielded_checkpoint()
        if once is not None:
            key = (opened.agent, once)
            seen = self._once.get(key)
            if seen is not None:
                return _replayed(seen, opened.digest)
        for hold in holds:
            self._require(hold)
        if once is not None:
            self._once[opened.agent, once] = (opened.digest, opened.request_id, None)
        for hold in holds:
            self._move(hold, held=hold.amount)
        self._holds[opened.request_id] = tuple(holds)
        self.audit.append(_record(len(self.audit) + 1, opened, ""))
        return None

    async def close_call(self, closed: CallClosed, /) -> None:
        """Replace the holds by what was used and record the outcome."""
        await anyio.lowlevel.cancel_shielded_checkpoint()
        holds = self._holds.pop(closed.request_id, None)
        if holds is None:
            return
        for hold in holds:
            self._move(hold, held=-hold.amount, spent=closed.used.get(hold.unit, 0))
        for key, (digest, request_id, _) in list(self._once.items()):
            if request_id == closed.request_id:
                if closed.answer is None:
                    del self._once[key]
                else:
                    self._once[key] = (digest, request_id, closed.answer)
        self._finish(closed)

    def unsettled(self, agent: str, /) -> int:
        """Count none: all is written at once."""
        del agent
        return 0

    async def refuse_call(self, opened: CallOpened, outcome: str, /) -> None:
        """Record a call that was not let in."""
        await anyio.lowlevel.cancel_shielded_checkpoint()
        self.audit.append(_record(len(self.audit) + 1, opened, outcome))

    async def balance(self, account: str, period: str, unit: Unit, /) -> Balance:
        """Read one account."""
        await anyio.lowlevel.checkpoint()
        return self._balances.get((account, period, unit), Balance(spent=0, held=0))

    async def spent(self, accounts: Collection[str], period: str, /) -> Counter[tuple[str, Unit]]:
        """Count what was spent."""
        await anyio.lowlevel.checkpoint()
        return Counter(
            {
                (account, unit): balance.spent
                for (account, when, unit), balance in self._balances.items()
                if account in accounts and when == period
            }
        )

    async def records(
        self, *, agent: str | None = None, request_id: str | None = None, limit: int = 100
    ) -> tuple[AuditRecord, ...]:
        """Read audit records, newest first."""
        await anyio.lowlevel.checkpoint()
        found = [
            record
            for record in reversed(self.audit)
            if agent in (None, record.agent) and request_id in (None, record.request_id)
        ]
        return tuple(found[:limit])

    def _require(self, hold: Hold) -> None:
        if hold.cap is None:
            return
        balance = self._balances.get((hold.account, hold.period, hold.unit))
        left = hold.cap - (balance.spent + balance.held if balance else 0)
        if hold.amount > left:
            raise OverdrawnError(hold.account, unit=hold.unit, wanted=hold.amount, left=left)

    def _move(self, hold: Hold, *, held: int, spent: int = 0) -> None:
        key = (hold.account, hold.period, hold.unit)
        balance = self._balances.get(key, Balance(spent=0, held=0))
        self._balances[key] = Balance(spent=balance.spent + spent, held=balance.held + held)

    def _finish(self, closed: CallClosed) -> None:
        for index, record in enumerate(self.audit):
            if record.request_id == closed.request_id:
                self.audit[index] = AuditRecord(
                    seq=record.seq,
                    request_id=record.request_id,
                    agent=record.agent,
                    op=record.op,
                    target=record.target,
                    digest=record.digest,
                    outcome=closed.outcome,
                    opened=record.opened,
                    closed=closed.at,
                    tokens=closed.used.get("tokens", 0),
                    micro_usd=closed.used.get("micro_usd", 0),
                    queue_ms=closed.queue_ms,
                    run_ms=closed.run_ms,
                    place=closed.place,
                )


def _replayed(seen: tuple[str, str, str | None], digest: str) -> str:
    known, _, answer = seen
    if known != digest:
        raise IdempotencyConflictError("the idempotency key was used before with other arguments")
    if answer is None:
        raise IdempotencyConflictError("the first call with this idempotency key has not finished")
    return answer


def _record(seq: int, opened: CallOpened, outcome: str) -> AuditRecord:
    return AuditRecord(
        seq=seq,
        request_id=opened.request_id,
        agent=opened.agent,
        op=opened.op,
        target=opened.target,
        digest=opened.digest,
        outcome=outcome,
        opened=opened.at,
        closed=opened.at if outcome else None,
        tokens=0,
        micro_usd=0,
        queue_ms=0.0,
        run_ms=0.0,
        place="",
    )
