"""Running one generation: memories in front, a lease on a core, and the next core if one fails.

A core may be replaced until its first text has been emitted; after that its failure is the
caller's, with what was used so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from aios_mcp.errors import failure_of, tell_usage
from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.calls import Attempt, GenerateCall, Generation
from aios_mcp.kernel.cores import Core
from aios_mcp.kernel.deadlines import deadline
from aios_mcp.kernel.errands import Errand, Errands
from aios_mcp.kernel.estimates import likely_tokens
from aios_mcp.kernel.gate import Call
from aios_mcp.kernel.injection import find_memories, put_in_front
from aios_mcp.kernel.routing import Route, Router, affinity_of, program_of
from aios_mcp.kernel.schema_answers import read_answer
from backends.errors import (
    BackendError,
    BackendRefusedError,
    BackendTimeoutError,
    ContextOverflowError,
    IncompleteAnswerError,
    UnsupportedError,
)
from backends.messages import Completion, GenerateRequest, Hit, Piece, Usage
from backends.protocols import Emit, MemoryStore
from scheduler import Job, Lease, SchedulerDriver


@dataclass(slots=True, kw_only=True, eq=False)
class _Asked:
    """A call that was let in, with its memories in front of the prompt."""

    agent: Agent
    call: GenerateCall
    request: GenerateRequest
    prompt_tokens: int
    hits: tuple[Hit, ...]
    admitted: Call
    emit: Emit
    until: float
    errand: Errand
    tries: list["_Try"]


@dataclass(slots=True, kw_only=True)
class _Try:
    """One try on one core: what it has used so far, and when it showed a first sign.

    Attributes:
        waited: Seconds in line before it; the lease counts pauses on top of them.
        is_last: No other core could take the call.
        outcome: `ok`, or the code of its error; "" while it runs.
    """

    core: Core
    lease: Lease
    waited: float
    prompt_tokens: int
    started: float
    is_last: bool
    outcome: str = ""
    seconds: float = 0.0
    output_tokens: int = 0
    has_emitted: bool = False
    first_seconds: float | None = None

    @property
    def usage(self) -> Usage:
        return Usage(input_tokens=self.prompt_tokens, output_tokens=self.output_tokens)

    @property
    def paused_seconds(self) -> float:
        return self.lease.queue_seconds - self.waited

    def end(self, outcome: str) -> None:
        self.outcome = outcome
        self.seconds = anyio.current_time() - self.started - self.paused_seconds


class Generations:
    """Runs generations on cores, one lease at a time."""

    def __init__(
        self,
        driver: SchedulerDriver,
        memories: MemoryStore,
        router: Router,
        errands: Errands,
        *,
        queue_seconds: float,
    ) -> None:
        self._driver = driver
        self._memories = memories
        self._router = router
        self._errands = errands
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
        """Generate on the best of the cores that can, within `seconds`.

        Raises:
            BackendError: All cores failed, or one did after its first text.
            SchedulerError: No slot was to be had.
        """
        tries: list[_Try] = []
        try:
            with (
                deadline(seconds, BackendTimeoutError, "the generation") as until,
                self._errands.of(agent) as errand,
            ):
                hits = await find_memories(self._memories, agent, call)
                request = put_in_front(call.request, hits)
                asked = _Asked(
                    agent=agent,
                    call=call,
                    request=request,
                    prompt_tokens=likely_tokens(request),
                    hits=hits,
                    admitted=admitted,
                    emit=emit,
                    until=until,
                    errand=errand,
                    tries=tries,
                )
                return await self._on_some_core(asked, list(cores))
        except BackendError as exc:
            if tries and tries[-1].has_emitted:
                tell_usage(exc, tries[-1].usage)
            raise

    async def _on_some_core(self, asked: _Asked, left: list[Core]) -> Generation:
        failure: BackendError | None = None
        while left:
            try:
                route = self._router.route(asked.request, asked.prompt_tokens, left)
            except BackendError as exc:
                raise failure or exc from None
            wanted = self._driver.lease(self._job(asked, route), asked.admitted.entry.in_line)
            async with wanted as lease:
                asked.admitted.queue_seconds += lease.queue_seconds
                [core] = [each for each in left if each.name == lease.resource]
                left.remove(core)
                tried = _Try(
                    core=core,
                    lease=lease,
                    waited=lease.queue_seconds,
                    prompt_tokens=asked.prompt_tokens,
                    started=lease.since,
                    is_last=len(route.cores) == 1,
                )
                asked.tries.append(tried)
                try:
                    return await self._on_core(asked, tried)
                except BackendError as exc:
                    if tried.has_emitted or _is_final(exc):
                        raise
                    # What may pass tells the caller more than that another core cannot do it.
                    if failure is None or not isinstance(exc, BackendRefusedError):
                        failure = exc
        assert failure is not None  # there was a core to try
        raise failure

    async def _on_core(self, asked: _Asked, tried: _Try) -> Generation:
        try:
            completion = await self._complete(asked, tried)
            data = read_answer(asked.call.request, completion)
        except BackendError as exc:
            known = failure_of(exc)
            tried.end("internal" if known is None else known.code)
            raise
        tried.end("ok")
        first = tried.first_seconds
        self._router.speeds.note(
            tried.core.name,
            first_seconds=tried.seconds if first is None else first,
            seconds=tried.seconds,
            tokens=completion.usage.output_tokens,
        )
        return _answer(asked, tried, completion, data)

    async def _complete(self, asked: _Asked, tried: _Try) -> Completion:
        admitted, core = asked.admitted, tried.core
        before = dict(admitted.used)
        admitted.place = core.name

        def charge(usage: Usage) -> None:
            tried.lease.report(usage.total)
            admitted.used["tokens"] = before.get("tokens", 0) + usage.total
            if core.price is not None:
                cost = before.get("micro_usd", 0) + core.price.micro_usd(usage)
                admitted.used["micro_usd"] = cost

        async def count_and_emit(piece: Piece) -> None:
            if tried.first_seconds is None:
                tried.first_seconds = anyio.current_time() - tried.started - tried.paused_seconds
            # Charged per piece: a cancelled call pays for what it used.
            tried.output_tokens += piece.tokens
            tried.has_emitted = tried.has_emitted or bool(piece.text)
            charge(tried.usage)
            await asked.emit(piece)

        try:
            completion = await self._router.patience.generate(
                core,
                asked.request,
                count_and_emit,
                tried.lease,
                until=asked.until,
                is_last=tried.is_last,
            )
        except IncompleteAnswerError as exc:
            charge(exc.usage)
            raise
        except anyio.get_cancelled_exc_class():
            charge(tried.usage)  # the prompt was worked on, whether or not text had come
            raise
        finally:
            admitted.queue_seconds += tried.paused_seconds
        charge(completion.usage)
        return completion

    def _job(self, asked: _Asked, route: Route) -> Job:
        agent, call, errand = asked.agent, asked.call, asked.errand
        return Job(
            id=f"{asked.admitted.id}/{len(asked.tries)}",
            agent=agent.name,
            resources=tuple(core.name for core in route.cores),
            lane=call.lane,
            cost=call.request.max_tokens + asked.prompt_tokens,
            prompt=asked.prompt_tokens,
            deadline=min(asked.until, errand.until, anyio.current_time() + self._queue_seconds),
            group="llm",
            agent_limit=agent.allowance.generations_at_once,
            affinity=affinity_of(agent.name, call.request),
            parent=errand.job_id,
            superior=agent.top,
            program=program_of(agent.name, call),
            handicaps=route.handicaps,
        )


def _is_final(exc: BackendError) -> bool:
    """Whether another core would refuse it too."""
    may_fit_elsewhere = isinstance(exc, ContextOverflowError | UnsupportedError)
    return isinstance(exc, BackendRefusedError) and not may_fit_elsewhere


def _answer(asked: _Asked, tried: _Try, completion: Completion, data: object | None) -> Generation:
    core = tried.core
    return Generation(
        text=completion.text,
        data=data,
        finish_reason=completion.reason,
        core=core.name,
        note=core.llm.status().note,
        usage=completion.usage,
        cost_micro_usd=None if core.price is None else core.price.micro_usd(completion.usage),
        queue_ms=round(asked.admitted.queue_seconds * 1000, 3),
        run_ms=round(tried.seconds * 1000, 3),
        request_id=asked.admitted.id,
        attempts=tuple(
            Attempt(core=each.core.name, outcome=each.outcome, ms=round(each.seconds * 1000, 3))
            for each in asked.tries
        ),
        memories=tuple(hit.id for hit in asked.hits),
        calls=completion.calls,
        logprobs=completion.logprobs,
    )
