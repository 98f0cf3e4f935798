"""Running one generation: memories in front, a lease on a core, and the next core if one fails.

A core may be replaced until its first text has been emitted; after that its failure is the
caller's, with what was used so far.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio

from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.calls import GenerateCall, Generation, MemoryInjection
from aios_mcp.kernel.capabilities import reaches_of
from aios_mcp.kernel.cores import Core, likely_tokens
from aios_mcp.kernel.deadlines import deadline
from aios_mcp.kernel.gate import Call
from backends.errors import (
    BackendError,
    BackendRefusedError,
    BackendTimeoutError,
    IncompleteAnswerError,
)
from backends.messages import Completion, GenerateRequest, Hit, MemoryQuery, Message, Piece, Usage
from backends.protocols import Emit, MemoryStore
from scheduler import Job, Lease, SchedulerDriver

MEMORY_HEADING = "Relevant memories:"


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """One try on one core: what it has used so far."""

    core: Core
    lease: Lease
    prompt_tokens: int
    output_tokens: int = 0
    has_emitted: bool = False

    @property
    def usage(self) -> Usage:
        return Usage(input_tokens=self.prompt_tokens, output_tokens=self.output_tokens)


class Generations:
    """Runs generations on cores, one lease at a time."""

    def __init__(
        self, driver: SchedulerDriver, memories: MemoryStore, *, queue_seconds: float
    ) -> None:
        self._driver = driver
        self._memories = memories
        self._queue_seconds = queue_seconds

    async def run(
        self,
        agent: Agent,
        call: GenerateCall,
        cores: Sequence[Core],
        admitted: Call,
        *,
        emit: Emit,
        seconds: float,
    ) -> Generation:
        """Generate on the first of the cores that can, within `seconds`.

        Raises:
            BackendError: All cores failed, or one did after its first text.
            SchedulerError: No slot was to be had.
        """
        with deadline(seconds, BackendTimeoutError, "the generation") as until:
            request, hits = await self._with_memories(agent, call)
            left = {core.name: core for core in cores}
            while True:
                job = self._job(agent, call, tuple(left), admitted, until)
                async with self._driver.lease(job) as lease:
                    admitted.queue_seconds += lease.queue_seconds
                    core = left.pop(lease.resource)
                    attempt = _Attempt(core=core, lease=lease, prompt_tokens=likely_tokens(request))
                    started = anyio.current_time()
                    try:
                        completion = await self._attempt(attempt, request, admitted, emit)
                    except BackendRefusedError:
                        raise
                    except BackendError:
                        if attempt.has_emitted or not left:
                            raise
                        continue
                    run_seconds = anyio.current_time() - started
                    return _answer(call, completion, core, admitted, run_seconds, hits)

    async def _attempt(
        self, attempt: _Attempt, request: GenerateRequest, admitted: Call, emit: Emit
    ) -> Completion:
        before = dict(admitted.used)
        admitted.place = attempt.core.name

        def charge(usage: Usage) -> None:
            price = attempt.core.price
            attempt.lease.report(usage.total)
            admitted.used["tokens"] = before.get("tokens", 0) + usage.total
            if price is not None:
                cost = before.get("micro_usd", 0) + price.micro_usd(usage)
                admitted.used["micro_usd"] = cost

        async def count_and_emit(piece: Piece) -> None:
            # Charged per piece: a cancelled call pays for what it used.
            attempt.output_tokens += piece.tokens
            attempt.has_emitted = attempt.has_emitted or bool(piece.text)
            charge(attempt.usage)
            await emit(piece)

        try:
            completion = await attempt.core.llm.generate(request, count_and_emit, attempt.lease)
        except IncompleteAnswerError as exc:
            charge(exc.usage)
            raise
        except anyio.get_cancelled_exc_class():
            charge(attempt.usage)  # the prompt was worked on, whether or not text had come
            raise
        charge(completion.usage)
        return completion

    def _job(
        self,
        agent: Agent,
        call: GenerateCall,
        resources: tuple[str, ...],
        admitted: Call,
        until: float,
    ) -> Job:
        return Job(
            id=f"{admitted.id}/{len(resources)}",
            agent=agent.name,
            resources=resources,
            lane=call.lane,
            cost=call.request.max_tokens + likely_tokens(call.request),
            deadline=min(until, anyio.current_time() + self._queue_seconds),
            group="llm",
            agent_limit=agent.allowance.generations_at_once,
        )

    async def _with_memories(
        self, agent: Agent, call: GenerateCall
    ) -> tuple[GenerateRequest, tuple[Hit, ...]]:
        if call.memory is None:
            return call.request, ()
        query = _query_of(call.memory, call.request)
        hits = await self._memories.search(query, reaches_of(agent.name, agent.grants.read))
        if not hits:
            return call.request, ()
        return _put_in_front(call.request, hits), hits


def _query_of(memory: MemoryInjection, request: GenerateRequest) -> MemoryQuery:
    asked = [message.text for message in request.messages if message.role == "user"]
    text = memory.query or (asked or [request.messages[-1].text])[-1]
    return MemoryQuery(text=text, k=memory.k, max_tokens=memory.max_tokens)


def _put_in_front(request: GenerateRequest, hits: Sequence[Hit]) -> GenerateRequest:
    lines = "\n".join(f"- {' '.join(hit.content.split())}" for hit in hits)
    block = f"{MEMORY_HEADING}\n{lines}"
    first, *rest = request.messages
    # One system message: many chat templates refuse a second one.
    if first.role == "system":
        messages = (Message("system", f"{first.text}\n\n{block}"), *rest)
    else:
        messages = (Message("system", block), first, *rest)
    return replace(request, messages=messages)


def _answer(
    call: GenerateCall,
    completion: Completion,
    core: Core,
    admitted: Call,
    run_seconds: float,
    hits: Sequence[Hit],
) -> Generation:
    return Generation(
        text=completion.text,
        data=_parsed(call.request, completion),
        finish_reason=completion.reason,
        core=core.name,
        note=core.llm.status().note,
        usage=completion.usage,
        cost_micro_usd=None if core.price is None else core.price.micro_usd(completion.usage),
        queue_ms=round(admitted.queue_seconds * 1000, 3),
        run_ms=round(run_seconds * 1000, 3),
        request_id=admitted.id,
        memories=tuple(hit.id for hit in hits),
    )


def _parsed(request: GenerateRequest, completion: Completion) -> object | None:
    if request.schema is None or completion.reason != "stop":
        return None
    try:
        parsed: object = json.loads(completion.text)
    except ValueError as exc:
        raise IncompleteAnswerError(
            "the core's answer is not the JSON that was asked for",
            text=completion.text,
            usage=completion.usage,
        ) from exc
    return parsed
