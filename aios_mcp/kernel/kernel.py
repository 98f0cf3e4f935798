"""The syscalls, each a straight script: gate, lease, work, answer."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio

from aios_mcp.kernel.adds import Adds
from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.budget import day_of, holds_for
from aios_mcp.kernel.calls import (
    AddCall,
    CoreReport,
    ForgetCall,
    Forgotten,
    FoundTools,
    GenerateCall,
    Generation,
    SearchCall,
    ServerReport,
    StatusReport,
    ToolCall,
    ToolOutcome,
    UsageReport,
)
from aios_mcp.kernel.capabilities import place_of
from aios_mcp.kernel.cores import Core, Cores
from aios_mcp.kernel.deadlines import deadline
from aios_mcp.kernel.errands import Errands
from aios_mcp.kernel.extraction import Extraction
from aios_mcp.kernel.gate import Call, Entry, Gate
from aios_mcp.kernel.generations import Generations
from aios_mcp.kernel.kinds import Kinds
from aios_mcp.kernel.permissions import (
    check_generate,
    check_namespace,
    check_tool,
    reach_of,
    tool_denied,
)
from aios_mcp.kernel.queue import Queue, QueueReport
from aios_mcp.kernel.replay import (
    generation_from_json,
    generation_to_json,
    tool_result_from_json,
    tool_result_to_json,
)
from aios_mcp.kernel.routing import Router, report_core
from aios_mcp.kernel.tool_catalog import ToolCatalog
from aios_mcp.kernel.working_memory import WorkingMemory
from aios_mcp.version import __version__
from backends.errors import StoreError, ToolNotFoundError, ToolServerTimeoutError
from backends.messages import Added, AuditRecord, Hit, MemoryDraft, MemoryRecord
from backends.protocols import Emit, Journal, MemoryStore, OnProgress
from scheduler import InLine, Job, Lane, SchedulerDriver

MEMORY = "memory"


def tools_resource(server: str) -> str:
    """Name the scheduler's resource of a tool server."""
    return f"tools:{server}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Longest times, in seconds."""

    queue: float
    generate: float
    tool: float
    memory: float


class Kernel:
    """Runs syscalls for agents on cores, tool servers and the memory store."""

    def __init__(
        self,
        *,
        gate: Gate,
        driver: SchedulerDriver,
        cores: Cores,
        catalog: ToolCatalog,
        memories: MemoryStore,
        journal: Journal,
        waits: Waits,
        now: Callable[[], float],
        router: Router | None = None,
        kinds: Kinds | None = None,
        shares: Mapping[str, float] | None = None,
        working: WorkingMemory | None = None,
        extraction: Extraction | None = None,
        errands: Errands | None = None,
    ) -> None:
        self._gate = gate
        self._driver = driver
        self._cores = cores
        self._catalog = catalog
        self._memories = memories
        self._journal = journal
        self._waits = waits
        self._now = now
        self._router = router or Router()
        self._kinds = kinds or Kinds()
        self._adds = Adds()
        self._working = working or WorkingMemory(None, now=now)
        self._extraction = extraction
        self._errands = errands or Errands()
        self._generations = Generations(
            driver, memories, self._router, self._errands, queue_seconds=waits.queue
        )
        self._queue = Queue(gate, driver, journal, shares or {}, now)
        self._started = anyio.current_time()

    async def llm_generate(
        self, agent: Agent, call: GenerateCall, emit: Emit, in_line: InLine | None = None
    ) -> Generation:
        """Generate text on whichever core the scheduler picks.

        Raises:
            KernelError, SchedulerError, BackendError, StoreError: See `aios_mcp.errors`.
        """
        cores: Sequence[Core] = ()

        def check() -> None:
            nonlocal cores
            cores = check_generate(agent, call, self._cores)

        entry = Entry(
            op="llm_generate",
            target=call.model,
            arguments=str(call),  # what JSON would make of it, and sooner
            check=check,
            holds=lambda: holds_for(agent, call, cores, self._now()),
            once=call.idempotency_key,
            within_seconds=min(self._waits.queue, call.deadline_seconds or self._waits.generate),
            in_line=in_line,
        )
        seconds = call.deadline_seconds or self._waits.generate
        async with self._gate.enter(agent, entry) as admitted:
            if admitted.replay is not None:
                return generation_from_json(admitted.replay)
            counted = self._queue.counting(admitted, emit)
            recalled = await self._working.recall(agent, call)
            generation = await self._generations.run(
                agent, recalled.call, cores, admitted, emit=counted, seconds=seconds
            )
            if recalled.requests:
                generation = replace(generation, turns=recalled.requests)
            await self._working.keep(agent, call, generation)
            if call.idempotency_key is not None:
                admitted.answer = generation_to_json(generation)
            return generation

    async def execute_tool(
        self, agent: Agent, call: ToolCall, on_progress: OnProgress, in_line: InLine | None = None
    ) -> ToolOutcome:
        """Run one tool of a downstream server.

        Raises:
            KernelError, SchedulerError, ToolServerError, StoreError: See `aios_mcp.errors`.
        """
        entry = Entry(
            op="execute_tool",
            target=call.tool,
            arguments=call.arguments,
            check=lambda: check_tool(agent, call, self._catalog),
            once=call.idempotency_key,
            in_line=in_line,
        )
        seconds = call.deadline_seconds or self._waits.tool
        async with self._gate.enter(agent, entry) as admitted:
            if admitted.replay is not None:
                result = tool_result_from_json(admitted.replay)
                return ToolOutcome(result=result, queue_ms=0.0, run_ms=0.0, audit_id=admitted.id)
            with deadline(seconds, ToolServerTimeoutError, f"tool {call.tool!r}") as until:
                return await self._run_tool(agent, call, admitted, on_progress, until)

    async def find_tools(
        self, agent: Agent, query: str | None, server: str | None, limit: int
    ) -> FoundTools:
        """List the tools the agent may call, best match first."""
        entry = Entry(
            op="find_tools", target=server or "*", arguments=[query, server, limit], check=_allow
        )
        async with self._gate.enter(agent, entry):
            return await self._catalog.find(agent, query=query, server=server, limit=limit)

    async def add_memory(self, agent: Agent, call: AddCall, in_line: InLine | None = None) -> Added:
        """Store a memory; returns after it is durable.

        Raises:
            KernelError, SchedulerError, StoreError: See `aios_mcp.errors`.
        """
        entry = Entry(
            op="add_memory",
            target=call.namespace,
            arguments=call.draft,
            check=lambda: self._check_add(agent, call),
            in_line=in_line,
        )
        place = place_of(agent.name, call.namespace)
        async with self._gate.enter(agent, entry) as admitted:
            self._adds.take(agent, anyio.current_time())
            draft = _with_source(call.draft, agent, admitted.id)
            async with self._at_memory(agent, admitted):
                return await self._memories.add(draft, place)

    async def search_memory(
        self, agent: Agent, call: SearchCall, in_line: InLine | None = None
    ) -> tuple[Hit, ...]:
        """Find memories among those the agent may read, best first.

        Raises:
            KernelError, SchedulerError, StoreError: See `aios_mcp.errors`.
        """
        reach = reach_of(agent, agent.grants.read, call.namespace)
        entry = Entry(
            op="search_memory",
            target=call.namespace or "*",
            arguments=call.query,
            check=lambda: check_namespace(agent, agent.grants.read, call.namespace, "read"),
            in_line=in_line,
        )
        async with self._gate.enter(agent, entry) as admitted, self._at_memory(agent, admitted):
            return await self._memories.search(call.query, reach)

    async def list_memories(
        self, agent: Agent, namespace: str | None, *, after: int = 0, limit: int = 500
    ) -> tuple[MemoryRecord, ...]:
        """List what the agent may read, a page at a time, older versions included.

        Raises:
            KernelError, SchedulerError, StoreError: See `aios_mcp.errors`.
        """
        reach = reach_of(agent, agent.grants.read, namespace)
        entry = Entry(
            op="list_memories",
            target=namespace or "*",
            arguments=[after, limit],
            check=lambda: check_namespace(agent, agent.grants.read, namespace, "read"),
        )
        async with self._gate.enter(agent, entry) as admitted, self._at_memory(agent, admitted):
            return await self._memories.records(reach, after=after, limit=limit)

    async def forget_memory(
        self, agent: Agent, call: ForgetCall, in_line: InLine | None = None
    ) -> Forgotten:
        """Take memories out of every later search, and with a session what was said in it.

        Raises:
            KernelError, SchedulerError, StoreError: See `aios_mcp.errors`.
        """
        reach = reach_of(agent, agent.grants.write, call.namespace)
        if call.namespace is None and call.selection.session is not None:
            reach = tuple(each for each in reach if each.owner == agent.name)
        entry = Entry(
            op="forget_memory",
            target=call.namespace or "*",
            arguments=[call.selection, call.reason],
            check=lambda: check_namespace(agent, agent.grants.write, call.namespace, "written"),
            in_line=in_line,
        )
        async with self._gate.enter(agent, entry) as admitted, self._at_memory(agent, admitted):
            # What is extracted meanwhile finds its exchanges gone, so these go first.
            exchanges = await self._working.forget(agent, call)
            memories = await self._memories.forget(call.selection, reach, call.reason)
            return Forgotten(memories=memories, exchanges=exchanges)

    async def status(self, agent: Agent) -> StatusReport:
        """Describe the kernel at a glance, as far as the agent's grants reach."""
        counts = await self._memories.count(agent.name)
        return StatusReport(
            version=__version__,
            agent=agent.name,
            uptime_seconds=round(anyio.current_time() - self._started, 3),
            cores=self.cores(agent),
            servers=tuple(
                ServerReport(name=name, status=status)
                for name, status in self._catalog.statuses(agent).items()
            ),
            running=self._driver.running,
            waiting=self._driver.waiting,
            memories=counts.rows,
            memory_bytes=counts.size_bytes,
            unsettled=self._journal.unsettled(agent.name),
            extraction=await self._extraction.report(agent.name) if self._extraction else None,
        )

    def cores(self, agent: Agent) -> tuple[CoreReport, ...]:
        """Describe the cores the agent may use."""
        counts = self._driver.counts()
        speeds = self._router.speeds
        return tuple(
            report_core(core, counts[core.name], speeds.known().get(core.name))
            for core in self._cores.visible_to(agent)
        )

    async def queue(self, agent: Agent) -> QueueReport:
        """Describe the queue as far as the agent's grants reach."""
        return await self._queue.report(agent, self._cores.visible_to(agent))

    async def usage(self, agent: Agent) -> UsageReport:
        """Say what the agent used of today's budget."""
        period = day_of(self._now())
        spent = await self._journal.spent((agent.name,), period)
        cap = agent.allowance.micro_usd_per_day
        return UsageReport(
            agent=agent.name,
            period=period,
            tokens=spent[agent.name, "tokens"],
            tokens_limit=agent.allowance.tokens_per_day,
            usd=spent[agent.name, "micro_usd"] / 1e6,
            usd_limit=None if cap is None else cap / 1e6,
        )

    async def audit(
        self, agent: Agent, *, request_id: str | None = None, limit: int = 20
    ) -> tuple[AuditRecord, ...]:
        """Read the agent's own audit records, newest first."""
        return await self._journal.records(agent=agent.name, request_id=request_id, limit=limit)

    def _check_add(self, agent: Agent, call: AddCall) -> None:
        check_namespace(agent, agent.grants.write, call.namespace, "written")
        self._kinds.check(call.draft)

    async def _run_tool(
        self, agent: Agent, call: ToolCall, admitted: Call, on_progress: OnProgress, until: float
    ) -> ToolOutcome:
        server_name, _, tool_name = call.tool.partition(".")
        server = self._catalog.server(server_name)
        assert server is not None  # the check saw to it
        async with self._lease(agent, admitted, tools_resource(server_name), until, call.lane):
            started = anyio.current_time()
            try:
                with self._errands.sent_to(server_name, admitted.id, until) as errand:
                    result = await server.call(tool_name, call.arguments, on_progress, errand)
            except ToolNotFoundError as exc:
                raise tool_denied(agent, call.tool, rule="absent") from exc
            run_seconds = anyio.current_time() - started
        if call.idempotency_key is not None:
            admitted.answer = tool_result_to_json(result)
        return ToolOutcome(
            result=result,
            queue_ms=round(admitted.queue_seconds * 1000, 3),
            run_ms=round(run_seconds * 1000, 3),
            audit_id=admitted.id,
        )

    @asynccontextmanager
    async def _at_memory(self, agent: Agent, admitted: Call) -> AsyncGenerator[None]:
        with deadline(self._waits.memory, StoreError, "the memory call") as until:
            async with self._lease(agent, admitted, MEMORY, until):
                yield

    @asynccontextmanager
    async def _lease(
        self,
        agent: Agent,
        admitted: Call,
        resource: str,
        until: float,
        lane: Lane = Lane.NORMAL,
    ) -> AsyncGenerator[None]:
        with self._errands.of(agent) as errand:
            job = Job(
                id=admitted.id,
                agent=agent.name,
                superior=agent.top,
                resources=(resource,),
                lane=lane,
                deadline=min(until, errand.until, anyio.current_time() + self._waits.queue),
                parent=errand.job_id,
            )
            async with self._driver.lease(job, admitted.entry.in_line) as lease:
                admitted.queue_seconds += lease.queue_seconds
                admitted.place = resource
                lease.report(job.cost)
                yield


def _allow() -> None:
    """Find_tools shows permitted tools only, so everyone may ask."""


def _with_source(draft: MemoryDraft, agent: Agent, request_id: str) -> MemoryDraft:
    # The tool takes no source, so one that is there comes from the operator and stands.
    source = {"agent": agent.name, "tool": "add_memory", "request": request_id, **draft.source}
    return replace(draft, source=source)
