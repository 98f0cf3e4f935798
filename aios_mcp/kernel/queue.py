"""The queue as it may be seen: an agent's own calls, and how agents and cores fare.

An agent sees nothing of others but how busy its cores are; one with the grant `observe` sees how
all agents fare, though never what they ask for.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import anyio

from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.budget import day_of
from aios_mcp.kernel.cores import Core
from aios_mcp.kernel.gate import Call, Gate
from aios_mcp.kernel.throughput import Throughput
from backends.messages import Piece
from backends.protocols import Emit, Journal
from scheduler import Lease, SchedulerDriver


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCall:
    """One call that was let in and has not ended.

    Attributes:
        target: The model, tool or namespace it aims at.
        lane: Its service class, while it is in line or at work.
        position: Calls in front of it; None unless it waits.
        waited_ms: Time in line so far.
        expected_wait_ms: How much longer it will wait at the speed of late; None unless it waits.
        place: Where it runs; empty while it waits.
        tokens: What it was charged so far, its prompt included.
    """

    request_id: str
    op: str
    target: str
    lane: str
    state: Literal["waiting", "running"]
    position: int | None
    waited_ms: float
    expected_wait_ms: float | None
    place: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreLoad:
    """How busy one core is, whoever keeps it busy."""

    name: str
    slots: int
    busy: int
    waiting: int
    tokens_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLoad:
    """How one agent fares; tokens and dollars are those of today (UTC)."""

    name: str
    share: float
    waiting: int
    running: int
    tokens_per_second: float
    tokens_today: int
    usd_today: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReport:
    """The queue at a glance, as far as the agent's grants reach."""

    agent: str
    observes: bool
    calls: Sequence[LiveCall]
    cores: Sequence[CoreLoad]
    agents: Sequence[AgentLoad]


class Queue:
    """Looks at the calls of the gate and at the leases of the driver.

    Args:
        gate: Knows the calls.
        driver: Knows who waits and who runs.
        journal: Knows what was spent.
        shares: The part of each known agent in busy slots.
        now: Unix seconds.
    """

    def __init__(
        self,
        gate: Gate,
        driver: SchedulerDriver,
        journal: Journal,
        shares: Mapping[str, float],
        now: Callable[[], float],
    ) -> None:
        self._gate = gate
        self._driver = driver
        self._journal = journal
        self._shares = shares
        self._now = now
        self._by_agent = Throughput()
        self._by_core = Throughput()

    def counting(self, call: Call, emit: Emit) -> Emit:
        """Give an `emit` that also counts the pieces of a generation."""

        async def count_and_emit(piece: Piece) -> None:
            at = anyio.current_time()
            self._by_agent.add(call.agent, piece.tokens, at)
            self._by_core.add(call.place, piece.tokens, at)
            await emit(piece)

        return count_and_emit

    async def report(self, agent: Agent, cores: Sequence[Core]) -> QueueReport:
        """Describe the queue for an agent that may use these cores.

        Raises:
            StoreError: What was spent cannot be read.
        """
        leases = {_request_of(lease): lease for lease in self._driver.leases}
        calls = tuple(self._gate.live)
        if agent.grants.observe:
            names = dict.fromkeys([*self._shares, *(call.agent for call in calls)])
        else:
            names = {agent.name: None}
        own = [call for call in calls if call.agent == agent.name]
        return QueueReport(
            agent=agent.name,
            observes=agent.grants.observe,
            calls=[self._live_call(call, leases.get(call.id)) for call in own],
            cores=self._core_loads(cores),
            agents=await self._agent_loads(list(names), calls, leases),
        )

    def _live_call(self, call: Call, lease: Lease | None) -> LiveCall:
        waited, position, expected = call.queue_seconds, None, None
        is_waiting = lease is not None and lease.is_waiting
        if lease is not None and lease.is_waiting:
            waited += anyio.current_time() - lease.since
            position = lease.position()
            expected = self._driver.expected_wait(lease.job.id)
        return LiveCall(
            request_id=call.id,
            op=call.entry.op,
            target=call.entry.target,
            lane="" if lease is None else lease.job.lane.name.lower(),
            state="waiting" if is_waiting else "running",
            position=position,
            waited_ms=round(waited * 1000, 3),
            expected_wait_ms=None if expected is None else round(expected * 1000, 3),
            place="" if is_waiting else call.place,
            tokens=call.used.get("tokens", 0),
        )

    def _core_loads(self, cores: Sequence[Core]) -> list[CoreLoad]:
        counts, now = self._driver.counts(), anyio.current_time()
        return [
            CoreLoad(
                name=core.name,
                slots=counts[core.name].slots,
                busy=counts[core.name].busy,
                waiting=counts[core.name].waiting,
                tokens_per_second=round(self._by_core.rate(core.name, now), 1),
            )
            for core in cores
        ]

    async def _agent_loads(
        self, names: Sequence[str], calls: Sequence[Call], leases: Mapping[str, Lease]
    ) -> list[AgentLoad]:
        waiting = Counter(
            call.agent for call in calls if call.id in leases and leases[call.id].is_waiting
        )
        live = Counter(call.agent for call in calls)
        spent = await self._journal.spent(names, day_of(self._now()))
        now = anyio.current_time()
        return [
            AgentLoad(
                name=name,
                share=self._shares.get(name, 1.0),
                waiting=waiting[name],
                running=live[name] - waiting[name],
                tokens_per_second=round(self._by_agent.rate(name, now), 1),
                tokens_today=spent[name, "tokens"],
                usd_today=spent[name, "micro_usd"] / 1e6,
            )
            for name in names
        ]


def _request_of(lease: Lease) -> str:
    # A generation that goes on to another core has a lease for each.
    return lease.job.id.partition("/")[0]
