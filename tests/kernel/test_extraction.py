"""Memories extracted from sessions in the background."""

import itertools
import json
from collections.abc import Sequence

import anyio
import pytest

from aios_mcp.kernel import Agent, Agents, Allowance, Kernel
from aios_mcp.kernel.calls import ExtractionReport, GenerateCall, SearchCall
from aios_mcp.kernel.extraction import Extraction, ExtractionRules
from aios_mcp.kernel.working_memory import WorkingMemory
from backends.messages import (
    Completion,
    CoreStatus,
    Exchange,
    GenerateRequest,
    MemoryQuery,
    Message,
    Piece,
    Usage,
)
from backends.protocols import Emit, Turn
from backends.scripted import ListJournal
from backends.scripted_memories import ListMemories
from backends.scripted_sessions import ListSessions
from backends.turns import UNINTERRUPTED
from tests.kernel.kernels import NOW, agent, build, core, ignore
from tests.marks import virtual_time

RULES = ExtractionRules(
    agents=("ada",),
    model="balanced",
    kinds=("fact", "preference"),
    most=2,
    after_turns=2,
    idle_seconds=60.0,
    max_tokens=200,
    prompt_tokens=1000,
)


class Writer:
    """A core that answers from a list, and keeps what it was asked."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked: list[GenerateRequest] = []

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        self.asked.append(request)
        text = self._answers.pop(0)
        await emit(Piece(text, 10))
        return Completion(text, "stop", Usage(input_tokens=10, output_tokens=10))

    def status(self) -> CoreStatus:
        return CoreStatus(model="writer", state="ready")


def told(*memories: tuple[str, str]) -> str:
    return json.dumps({"memories": [{"kind": kind, "content": text} for kind, text in memories]})


class World:
    """A kernel that extracts, with a clock of its own."""

    def __init__(
        self,
        llm: Writer,
        *,
        caller: Agent | None = None,
        extracts: Sequence[str] = ("ada",),
    ) -> None:
        self.now = NOW
        self.caller = caller or agent()
        self.journal = ListJournal()
        self.sessions = ListSessions(now=lambda: self.now)
        agents = Agents({"ada": self.caller}, secrets={}, token_key=b"key", now=lambda: self.now)
        self.extraction = Extraction(self.sessions, agents, RULES)
        ids = (f"m{number}" for number in itertools.count(1))
        self.kernel: Kernel = build(
            core(llm=llm),
            journal=self.journal,
            memories=ListMemories(now=lambda: self.now, new_id=ids.__next__),
            working=WorkingMemory(self.sessions, now=lambda: self.now, extracts=extracts),
            extraction=self.extraction,
        )

    async def wait(self, number: int, session: str = "s", agent_name: str = "ada") -> None:
        """Let an exchange wait for extraction."""
        exchange = Exchange(
            agent=agent_name,
            session=session,
            request=f"q{number}",
            asked=f"asked {number}",
            answered=f"answered {number}",
            at=self.now,
        )
        await self.sessions.keep(exchange, extract=True)

    async def extract(self) -> ExtractionReport:
        await self.extraction.extract_all(self.kernel)
        report = (await self.kernel.status(self.caller)).extraction
        assert report is not None
        return report


async def test_a_conversation_becomes_memories_that_say_where_they_come_from() -> None:
    llm = Writer(told(("fact", "Ada keeps bees."), ("preference", "Ada likes green tea.")))
    world = World(llm)
    await world.wait(1)
    await world.wait(2)
    report = await world.extract()
    assert report == ExtractionReport(waiting=0, stored=2, folded=0, failed=0)
    [hit] = await world.kernel.search_memory(agent(), SearchCall(query=MemoryQuery(text="bees")))
    [generated] = [each for each in world.journal.audit if each.op == "llm_generate"]
    assert (hit.content, hit.kind, hit.session) == ("Ada keeps bees.", "fact", "s")
    assert hit.namespace == "self"
    assert (hit.source["agent"], hit.source["tool"]) == ("ada", "extraction")
    assert hit.source["core"] == "echo"
    assert hit.source["extracted_from"] == ["q1", "q2"]
    assert hit.source["extracted_by"] == generated.request_id
    assert (generated.agent, generated.tokens) == ("ada", 20)
    [asked] = llm.asked
    assert asked.schema == RULES.schema()
    assert "asked 1" in asked.messages[-1].text
    assert "answered 2" in asked.messages[-1].text


async def test_what_is_known_already_is_not_stored_again() -> None:
    world = World(Writer(told(("fact", "Ada keeps bees.")), told(("fact", "Ada keeps bees."))))
    for number in range(4):
        await world.wait(number, session=f"s{number // 2}")
    report = await world.extract()
    assert (report.stored, report.folded) == (1, 1)


async def test_a_session_is_read_when_it_stands_still() -> None:
    world = World(Writer(told()))
    await world.wait(1)
    assert (await world.extract()).waiting == 1
    world.now += RULES.idle_seconds
    assert await world.extract() == ExtractionReport(waiting=0, stored=0, folded=0, failed=0)


async def test_a_long_session_is_read_in_parts() -> None:
    llm = Writer(told(), told())
    world = World(llm)
    for number in range(2):
        exchange = Exchange(
            agent="ada", session="s", request=f"q{number}", asked="x" * 3000, answered="y", at=NOW
        )
        await world.sessions.keep(exchange, extract=True)
    world.now += RULES.idle_seconds
    assert (await world.extract()).waiting == 0
    assert len(llm.asked) == 2


async def test_an_answer_that_does_not_fit_is_tried_three_times_and_given_up() -> None:
    llm = Writer(*['{"memories": [{"kind": "spell", "content": "x"}]}'] * 9)
    world = World(llm)
    await world.wait(1)
    await world.wait(2)
    for _ in range(5):
        await world.extract()
        world.now += 3600.0
    assert await world.extract() == ExtractionReport(waiting=0, stored=0, folded=0, failed=3)
    assert len(llm.asked) == 3


async def test_without_budget_a_conversation_waits_for_the_next_day() -> None:
    llm = Writer(told(("fact", "Ada keeps bees.")))
    world = World(llm, caller=agent(allowance=Allowance(tokens_per_day=1)))
    await world.wait(1)
    await world.wait(2)
    for failed in range(1, 6):
        report = await world.extract()
        assert (report.waiting, report.failed) == (2, failed)
        world.now += 600.0
    assert llm.asked == []


async def test_what_another_configuration_had_collected_is_left() -> None:
    llm = Writer()
    world = World(llm)
    await world.wait(1, agent_name="ben")
    world.now += RULES.idle_seconds
    await world.extract()
    assert await world.sessions.waiting("ben") == 0
    assert llm.asked == []


@pytest.mark.parametrize("extracts", [("ada",), ()])
async def test_calls_with_a_session_join_the_backlog_where_it_is_asked_for(
    extracts: tuple[str, ...],
) -> None:
    world = World(Writer("hello", "hello"), extracts=extracts)
    for session in ("s", ""):
        request = GenerateRequest(messages=(Message("user", "hi"),), max_tokens=9)
        await world.kernel.llm_generate(
            agent(), GenerateCall(request=request, session=session), ignore
        )
    assert await world.sessions.waiting("ada") == len(extracts)


@virtual_time
async def test_it_runs_by_itself() -> None:
    world = World(Writer(told(("fact", "Ada keeps bees."))))
    await world.wait(1)
    await world.wait(2)
    with anyio.fail_after(600):
        async with anyio.create_task_group() as tg:
            tg.start_soon(world.extraction.run, world.kernel)
            await anyio.sleep(100)
            tg.cancel_scope.cancel()
    report = await world.extraction.report("ada")
    assert report is not None
    assert report.stored == 1
    assert await world.extraction.report("ben") is None
