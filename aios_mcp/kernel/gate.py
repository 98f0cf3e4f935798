"""The gate every syscall passes: capability, rate, budget and audit; then work; then account.

What is refused is recorded too. What was let in is settled and recorded however it ends, also
when it is cancelled.
"""

import hashlib
import hmac
import json
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from aios_mcp.errors import (
    BudgetExceededError,
    ConflictError,
    KernelError,
    failure_of,
    name_request,
)
from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.rates import Rates
from backends.errors import IdempotencyConflictError, OverdrawnError, StoreError
from backends.messages import CallClosed, CallOpened, Hold, Unit
from backends.protocols import Journal

_CLOSE_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a caller wants of the gate.

    Attributes:
        op: The syscall, such as `llm_generate`.
        target: What it aims at.
        arguments: JSON-able; only their keyed digest is kept.
        check: Raises when the agent may not.
        holds: Gives the units to set aside; asked only once the check has passed.
        once: Idempotency key, or None.
    """

    op: str
    target: str
    arguments: object
    check: Callable[[], None]
    holds: Callable[[], Sequence[Hold]] = tuple
    once: str | None = None


@dataclass(slots=True, kw_only=True)
class Call:
    """A syscall that was let in. The kernel fills it while it works.

    Attributes:
        id: Request id, also of the audit record.
        replay: Answer of an earlier call with the same idempotency key, or None.
        used: Units used so far: what a cancelled call pays for.
        queue_seconds: Time spent in line.
        place: Core or server that did the work.
        answer: JSON to keep for the idempotency key.
    """

    id: str
    replay: str | None = None
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
        self._digest_key = digest_key
        self._now = now
        self._new_id = new_id

    @asynccontextmanager
    async def enter(self, agent: Agent, entry: Entry) -> AsyncGenerator[Call]:
        """Admit one syscall for the length of the block.

        Raises:
            NotPermittedError: No grant.
            RateLimitedError: Too many calls.
            BudgetExceededError: The budget does not cover the holds.
            ConflictError: The idempotency key stands for something else.
            StoreError: The audit trail cannot be written, so nothing may happen.
        """
        opened = CallOpened(
            request_id="r" + self._new_id(),
            agent=agent.name,
            op=entry.op,
            target=entry.target,
            digest=self._digest(entry.arguments),
            at=self._now(),
        )
        call = Call(id=opened.request_id)
        call.replay = await self._admit(agent, entry, opened)
        if call.replay is not None:
            yield call
            return
        started = anyio.current_time()
        outcome = "internal"
        try:
            yield call
            outcome = "ok"
        except BaseException as exc:
            outcome = _outcome_of(exc)
            name_request(exc, call.id)
            raise
        finally:
            run_seconds = anyio.current_time() - started - call.queue_seconds
            await self._close(call, outcome, run_seconds)

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
        try:
            return await self._journal.open_call(opened, entry.holds(), entry.once)
        except OverdrawnError as exc:
            raise BudgetExceededError(
                agent.name, unit=exc.unit, wanted=exc.wanted, left=exc.left
            ) from exc
        except IdempotencyConflictError as exc:
            raise ConflictError(str(exc)) from exc

    async def _close(self, call: Call, outcome: str, run_seconds: float) -> None:
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
        # Cancelled or not, what was used is paid for. A store that fails here leaves the call open
        # in the journal, which charges its holds in full when it recovers.
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            try:
                await self._journal.close_call(closed)
            except StoreError:
                logger.exception("call not settled", extra={"request_id": call.id})

    def _digest(self, arguments: object) -> str:
        # Keyed, so that short arguments cannot be guessed from the audit trail.
        text = json.dumps(arguments, sort_keys=True, separators=(",", ":"), default=str)
        return hmac.new(self._digest_key, text.encode(), hashlib.sha256).hexdigest()


def _outcome_of(exc: BaseException) -> str:
    if isinstance(exc, (anyio.get_cancelled_exc_class(), GeneratorExit)):
        return "cancelled"
    failure = failure_of(exc)
    return "internal" if failure is None else failure.code
