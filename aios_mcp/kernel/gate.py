"""The gate every syscall passes: capability, rate, budget and audit; then work; then account.

What is refused is recorded too. What was let in is settled and recorded however it ends, also
when it is cancelled.
"""

import hmac
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from aios_mcp.errors import (
    BudgetExceededError,
    ConflictError,
    KernelError,
    failure_of,
    name_request,
)
from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.headroom import Headroom
from aios_mcp.kernel.rates import Rates
from backends.errors import IdempotencyConflictError, OverdrawnError
from backends.messages import CallClosed, CallOpened, Hold, Unit
from backends.protocols import Journal
from scheduler import InLine

_canonical_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """What a caller wants of the gate.

    Attributes:
        op: The syscall, such as `llm_generate`.
        target: What it aims at.
        arguments: JSON-able; only their keyed digest is kept.
        check: Raises when the agent may not.
        holds: Gives the units to set aside; asked only once the check has passed.
        once: Idempotency key, or None.
        within_seconds: Longest wait for budget that other calls of the agent may give back.
        in_line: Told of the call's lease when it has to wait for it.
    """

    op: str
    target: str
    arguments: object
    check: Callable[[], None]
    holds: Callable[[], Sequence[Hold]] = tuple
    once: str | None = None
    within_seconds: float = 0.0
    in_line: InLine | None = None


@dataclass(slots=True, kw_only=True)
class Call:
    """A syscall that was let in. The kernel fills it while it works.

    Attributes:
        id: Request id, also of the audit record.
        agent: Who called.
        top: The agent in whose line for budget it stands.
        entry: What was asked for.
        replay: Answer of an earlier call with the same idempotency key, or None.
        since: When it was let in, on the event loop's clock.
        used: Units used so far: what a cancelled call pays for.
        queue_seconds: Time spent in line.
        place: Core or server that did the work.
        answer: JSON to keep for the idempotency key.
    """

    id: str
    agent: str
    top: str
    entry: Entry
    replay: str | None = None
    since: float = 0.0
    used: dict[Unit, int] = field(default_factory=dict[Unit, int])
    queue_seconds: float = 0.0
    place: str = ""
    answer: str | None = None


class Gate:
    """Lets syscalls in, and records how each ended."""

    def __init__(
        self,
        journal: Journal,
        *,
        digest_key: bytes,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._journal = journal
        self._rates = Rates()
        self._headroom = Headroom()
        # To be copied: a digest in one step lets go of the interpreter's lock, and a busy writer
        # may keep it for milliseconds.
        self._mac = hmac.new(digest_key, digestmod="sha256")
        self._now = now
        self._new_id = new_id
        self._live: dict[str, Call] = {}

    @property
    def live(self) -> Collection[Call]:
        """Calls that were let in and have not ended, oldest first."""
        return self._live.values()

    def enter(self, agent: Agent, entry: Entry) -> "Passage":
        """Admit one syscall for the length of an `async with` block.

        Entering raises:
            NotPermittedError: No grant.
            RateLimitedError: Too many calls.
            BudgetExceededError: The budget does not cover the holds.
            ConflictError: The idempotency key stands for something else.
            StoreError: The audit trail cannot be written, so nothing may happen.
        """
        return Passage(self, agent, entry)

    # --- For passages --------------------------------------------------------------------------

    async def admit(self, agent: Agent, entry: Entry) -> Call:
        """Let a call in; one that is answered by a replay is not live."""
        opened = CallOpened(
            request_id="r" + self._new_id(),
            agent=agent.name,
            op=entry.op,
            target=entry.target,
            digest=self._digest(entry.arguments),
            at=self._now(),
        )
        call = Call(id=opened.request_id, agent=agent.name, top=agent.top, entry=entry)
        call.replay = await self._admit(agent, entry, opened)
        if call.replay is None:
            call.since = anyio.current_time()
            self._live[call.id] = call
        return call

    async def dismiss(self, call: Call, exc: BaseException | None) -> None:
        """Settle and record a call that was let in, and how it ended."""
        if self._live.pop(call.id, None) is None:
            return
        outcome = "ok"
        if exc is not None:
            outcome = _outcome_of(exc)
            name_request(exc, call.id)
        await self._close(call, outcome)

    async def _admit(self, agent: Agent, entry: Entry, opened: CallOpened) -> str | None:
        try:
            entry.check()
            self._rates.take(agent, anyio.current_time())
            return await self._open(agent, entry, opened)
        except KernelError as exc:
            name_request(exc, opened.request_id)
            await self._journal.refuse_call(opened, _outcome_of(exc))
            raise

    async def _open(self, agent: Agent, entry: Entry, opened: CallOpened) -> str | None:
        async def opening() -> str | None:
            holds = entry.holds()
            try:
                return await self._journal.open_call(opened, holds, entry.once)
            except OverdrawnError as exc:
                if await self._may_fit(exc, holds):
                    raise
                raise _exceeded(exc) from exc

        try:
            answer = await self._headroom.open(
                agent.top, opening, within_seconds=entry.within_seconds
            )
        except OverdrawnError as exc:
            raise _exceeded(exc) from exc
        except IdempotencyConflictError as exc:
            raise ConflictError(str(exc)) from exc
        if answer is not None:
            self._headroom.close(agent.top)  # a replay holds nothing
        return answer

    async def _may_fit(self, exc: OverdrawnError, holds: Sequence[Hold]) -> bool:
        """Whether the call would fit if all that is held were given back."""
        for hold in holds:
            if (hold.account, hold.unit) == (exc.account, exc.unit) and hold.cap is not None:
                balance = await self._journal.balance(hold.account, hold.period, hold.unit)
                return balance.spent + hold.amount <= hold.cap
        return False

    async def _close(self, call: Call, outcome: str) -> None:
        run_seconds = anyio.current_time() - call.since - call.queue_seconds
        closed = CallClosed(
            request_id=call.id,
            at=self._now(),
            outcome=outcome,
            used=call.used,
            queue_ms=round(call.queue_seconds * 1000, 3),
            run_ms=round(run_seconds * 1000, 3),
            place=call.place,
            answer=call.answer if outcome == "ok" else None,
        )
        try:
            # Who was granted the slot that this call has left starts before its caller goes on.
            await cancel_shielded_checkpoint()
            await self._journal.close_call(closed)
        finally:
            self._headroom.close(call.top)

    def _digest(self, arguments: object) -> str:
        # Keyed, so that short arguments cannot be guessed from the audit trail.
        mac = self._mac.copy()
        mac.update(_canonical_json(arguments).encode())
        return mac.hexdigest()


class Passage:
    """The way of one syscall through the gate and out again."""

    __slots__ = ("_agent", "_call", "_entry", "_gate")

    def __init__(self, gate: Gate, agent: Agent, entry: Entry) -> None:
        self._gate = gate
        self._agent = agent
        self._entry = entry

    async def __aenter__(self) -> Call:
        """Enter; see `Gate.enter`."""
        self._call = await self._gate.admit(self._agent, self._entry)
        return self._call

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave, whatever happened."""
        await self._gate.dismiss(self._call, exc)


def _exceeded(exc: OverdrawnError) -> BudgetExceededError:
    return BudgetExceededError(exc.account, unit=exc.unit, wanted=exc.wanted, left=exc.left)


def _outcome_of(exc: BaseException) -> str:
    if isinstance(exc, (anyio.get_cancelled_exc_class(), GeneratorExit)):
        return "cancelled"
    failure = failure_of(exc)
    return "internal" if failure is None else failure.code
