"""Kernels over scripted backends, small enough to see through."""

import itertools
from collections.abc import Callable, Mapping, Sequence

from aios_mcp.kernel import Agent, Allowance, Grants, Kernel
from aios_mcp.kernel.cores import FREE, Core, Cores, Price
from aios_mcp.kernel.errands import Errands
from aios_mcp.kernel.extraction import Extraction
from aios_mcp.kernel.gate import Gate
from aios_mcp.kernel.kernel import MEMORY, Waits, tools_resource
from aios_mcp.kernel.routing import Router
from aios_mcp.kernel.tool_catalog import ToolCatalog
from aios_mcp.kernel.working_memory import WorkingMemory
from backends.messages import (
    Added,
    GenerateRequest,
    Hit,
    MemoryCounts,
    MemoryDraft,
    MemoryQuery,
    MemoryRecord,
    Message,
    Piece,
    Place,
    Reach,
    Selection,
    ToolProgress,
)
from backends.protocols import Journal, LLMCore, MemoryStore, ToolServer
from backends.scripted import EchoCore, EchoTools, ListJournal
from scheduler import Scheduler, SchedulerDriver
from scheduler.policies import Fifo, Policy

NOW = 1_790_000_000.0


class NoMemories:
    """A store for tests that must not touch it."""

    async def add(self, draft: MemoryDraft, place: Place, /) -> Added:
        raise AssertionError("not expected")

    async def search(self, query: MemoryQuery, reach: Sequence[Reach], /) -> tuple[Hit, ...]:
        raise AssertionError("not expected")

    async def forget(self, selection: Selection, reach: Sequence[Reach], reason: str, /) -> int:
        raise AssertionError("not expected")

    async def count(self, owner: str, /) -> MemoryCounts:
        return MemoryCounts(rows=0, size_bytes=0)

    async def records(
        self, reach: Sequence[Reach], /, *, after: int = 0, limit: int = 500
    ) -> tuple[MemoryRecord, ...]:
        raise AssertionError("not expected")


def agent(
    name: str = "ada", *, allowance: Allowance | None = None, grants: Grants | None = None
) -> Agent:
    return Agent(
        name=name,
        grants=grants
        or Grants(
            tools=(("*",),),
            read=("self/*", "shared"),
            write=("self/*", "shared"),
            tiers=frozenset({"fast", "balanced"}),
            max_tokens=1000,
        ),
        allowance=allowance or Allowance(),
    )


def core(
    name: str = "echo",
    llm: LLMCore | None = None,
    *,
    price: Price | None = FREE,
    slots: int = 1,
    tiers: tuple[str, ...] = ("balanced",),
    is_local: bool = True,
    is_loopback: bool = False,
) -> Core:
    return Core(
        name=name,
        backend="llama_cpp" if is_local else "openai",
        llm=llm or EchoCore(),
        tiers=tiers,
        slots=slots,
        price=price,
        is_loopback=is_loopback,
    )


def build(
    *cores: Core,
    journal: Journal | None = None,
    servers: Mapping[str, ToolServer] | None = None,
    memories: MemoryStore | None = None,
    queue_seconds: float = 1000.0,
    generate_seconds: float = 1000.0,
    max_waiting_per_agent: int = 16,
    now: Callable[[], float] = lambda: NOW,
    router: Router | None = None,
    shares: Mapping[str, float] | None = None,
    policy: Policy | None = None,
    working: WorkingMemory | None = None,
    extraction: Extraction | None = None,
    calling_back: Sequence[str] = (),
) -> Kernel:
    all_cores = cores or (core(),)
    all_servers = {"demo": EchoTools()} if servers is None else servers
    slots = {each.name: each.slots for each in all_cores}
    slots |= {tools_resource(name): 2 for name in all_servers}
    slots[MEMORY] = 4
    journal = journal or ListJournal()
    ids = itertools.count(1)
    return Kernel(
        gate=Gate(journal, digest_key=b"key", now=now, new_id=lambda: str(next(ids))),
        driver=SchedulerDriver(
            Scheduler(slots, policy or Fifo(), max_waiting_per_agent=max_waiting_per_agent)
        ),
        cores=Cores(all_cores),
        catalog=ToolCatalog(all_servers, list_seconds=5.0),
        memories=memories or NoMemories(),
        journal=journal,
        waits=Waits(queue=queue_seconds, generate=generate_seconds, tool=60.0, memory=30.0),
        now=now,
        router=router,
        shares=shares,
        working=working,
        extraction=extraction,
        errands=Errands(calling_back),
    )


def prompt(text: str, max_tokens: int = 100) -> GenerateRequest:
    return GenerateRequest(messages=(Message("user", text),), max_tokens=max_tokens)


async def ignore(piece: Piece) -> None:
    del piece


async def no_progress(progress: ToolProgress) -> None:
    del progress
