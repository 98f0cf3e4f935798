"""Extracting memories from conversations while nobody waits for it.

It is the agent's own call, in the lane of batch work and on its budget, and adds to its own
memories only.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import anyio

from aios_mcp.errors import Failure, failure_of
from aios_mcp.kernel.agents import Agent, Agents
from aios_mcp.kernel.calls import (
    AddCall,
    ExtractionReport,
    ForgetCall,
    Forgotten,
    GenerateCall,
    Generation,
)
from aios_mcp.kernel.extraction_rules import ExtractionRules, found_in
from backends.errors import StoreError
from backends.messages import Added, Exchange, MemoryDraft, Piece, Selection
from backends.protocols import Backlog, Emit

_EVERY_SECONDS = 30.0
_LATER_SECONDS = 300.0
_AGAIN_SECONDS = 2.0
_FORGOTTEN = "the session was forgotten"
# Before anything was used up, so it does not count as a try.
_LATER = {"busy", "rate_limited", "budget_exceeded", "backend_unavailable"}

logger = logging.getLogger(__name__)


class Syscalls(Protocol):
    """What extraction asks of the kernel."""

    async def llm_generate(self, agent: Agent, call: GenerateCall, emit: Emit, /) -> Generation:
        """Generate text."""
        ...

    async def add_memory(self, agent: Agent, call: AddCall, /) -> Added:
        """Store a memory."""
        ...

    async def forget_memory(self, agent: Agent, call: ForgetCall, /) -> Forgotten:
        """Forget memories."""
        ...


@dataclass(slots=True)
class _Counts:
    stored: int = 0
    folded: int = 0
    failed: int = 0


class Extraction:
    """Takes what waits in the backlog, a session at a time.

    What it has taken when it ends is taken again after it has started anew. A conversation costs
    three answers at most, whatever fails.
    """

    def __init__(self, backlog: Backlog, agents: Agents, rules: ExtractionRules) -> None:
        self._backlog = backlog
        self._agents = agents
        self._rules = rules
        self._counts = {name: _Counts() for name in rules.agents}

    async def run(self, kernel: Syscalls) -> None:
        """Extract until it is cancelled."""
        while True:
            try:
                await self.extract_all(kernel)
            except StoreError:
                logger.warning("the backlog of sessions failed; tried again later", exc_info=True)
            await anyio.sleep(_EVERY_SECONDS)

    async def extract_all(self, kernel: Syscalls) -> None:
        """Extract from the sessions that are ripe.

        Raises:
            StoreError: The backlog failed.
        """
        rules = self._rules
        while taken := await self._backlog.take(
            least=rules.after_turns, idle_seconds=rules.idle_seconds
        ):
            if taken[0].agent not in rules.agents:  # the configuration was another one then
                await self._backlog.settle(taken)
                continue
            fitting = rules.fitting(taken)
            await self._backlog.put_back(taken[len(fitting) :], after_seconds=0.0)
            await self._extract(kernel, fitting)

    async def report(self, agent: str) -> ExtractionReport | None:
        """Say how it goes with an agent's sessions; None where none is extracted from.

        Raises:
            StoreError: The backlog failed.
        """
        counts = self._counts.get(agent)
        if counts is None:
            return None
        return ExtractionReport(
            waiting=await self._backlog.waiting(agent),
            stored=counts.stored,
            folded=counts.folded,
            failed=counts.failed,
        )

    async def _extract(self, kernel: Syscalls, exchanges: Sequence[Exchange]) -> None:
        name, answer = exchanges[0].agent, None
        try:
            agent = self._agents.get(name)
            answer = await kernel.llm_generate(
                agent, self._rules.question(agent, exchanges), _ignore
            )
            if await self._add_all(kernel, agent, answer, exchanges):
                await self._backlog.settle(exchanges)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), suppress(StoreError):
                await self._backlog.put_back(exchanges, after_seconds=0.0)
            raise
        except Exception as exc:
            failure = failure_of(exc)
            if failure is None:
                logger.exception("memories not extracted", extra={"agent": name})
            else:
                known = {"agent": name, "code": failure.code}
                logger.warning("memories not extracted", extra=known)
            self._counts[name].failed += 1
            if answer is None and failure is not None and _is_for_later(failure):
                wait = max(_LATER_SECONDS, failure.retry_after_seconds or 0.0)
                await self._backlog.put_back(exchanges, after_seconds=wait)

    async def _add_all(
        self, kernel: Syscalls, agent: Agent, answer: Generation, exchanges: Sequence[Exchange]
    ) -> bool:
        """Add what was found, unless some of the exchanges were forgotten meanwhile."""
        counts, new = self._counts[agent.name], list[str]()
        found = found_in(answer)
        if not await self._backlog.holds(exchanges):
            return False
        for kind, content in found:
            draft = MemoryDraft(
                content=content,
                kind=kind,
                fold=True,
                session=exchanges[0].session,
                source={
                    "tool": "extraction",
                    "core": answer.core,
                    "extracted_by": answer.request_id,
                    "extracted_from": [each.request for each in exchanges],
                },
            )
            added = await _add(kernel, agent, AddCall(draft=draft))
            counts.stored += not added.deduplicated
            counts.folded += added.deduplicated
            new += () if added.deduplicated else (added.id,)
        is_held = await self._backlog.holds(exchanges)
        if new and not is_held:
            # Who forgot the session did so before these were there to be forgotten with it.
            chosen = Selection(ids=tuple(new))
            await kernel.forget_memory(agent, ForgetCall(selection=chosen, reason=_FORGOTTEN))
        return is_held


async def _add(kernel: Syscalls, agent: Agent, call: AddCall) -> Added:
    """Add a memory, and try once more where there was no room for it at the moment."""
    try:
        return await kernel.add_memory(agent, call)
    except Exception as exc:
        failure = failure_of(exc)
        if failure is None or not failure.retryable:
            raise
        await anyio.sleep(failure.retry_after_seconds or _AGAIN_SECONDS)
    return await kernel.add_memory(agent, call)


def _is_for_later(failure: Failure) -> bool:
    return failure.code in _LATER and failure.usage is None


async def _ignore(piece: Piece) -> None:
    del piece
