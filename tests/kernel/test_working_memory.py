"""The last exchanges of a session in front of the next prompt."""

import itertools

import pytest

from aios_mcp.errors import NotPermittedError
from aios_mcp.kernel import Agent, Grants, Kernel
from aios_mcp.kernel.calls import AddCall, GenerateCall, Generation, MemoryInjection
from aios_mcp.kernel.working_memory import WorkingMemory
from backends.errors import StoreError
from backends.messages import (
    Completion,
    CoreStatus,
    Exchange,
    GenerateRequest,
    MemoryDraft,
    Message,
)
from backends.protocols import Emit, LLMCore, Sessions, Turn
from backends.scripted import EchoCore
from backends.scripted_memories import ListMemories
from backends.scripted_sessions import ListSessions
from backends.turns import UNINTERRUPTED
from tests.kernel.kernels import NOW, agent, build, core, ignore

TWO_TURNS = MemoryInjection(k=0, turns=2)


class FullSessions:
    """Sessions on a disk without room."""

    async def keep(self, exchange: Exchange, /, *, extract: bool) -> None:
        raise StoreError("the disk is full")

    async def last(self, agent: str, session: str, most: int, /) -> tuple[Exchange, ...]:
        return ()


class Attentive:
    """A core that echoes, and keeps what it was asked."""

    def __init__(self) -> None:
        self._echo = EchoCore()
        self.asked: list[list[tuple[str, str]]] = []

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        self.asked.append([(each.role, each.text) for each in request.messages])
        return await self._echo.generate(request, emit, turn)

    def status(self) -> CoreStatus:
        return self._echo.status()


def kernel_with(llm: LLMCore, sessions: Sessions | None = None) -> Kernel:
    ids = (f"m{number}" for number in itertools.count(1))
    working = WorkingMemory(sessions or ListSessions(now=lambda: NOW), now=lambda: NOW)
    memories = ListMemories(now=lambda: NOW, new_id=ids.__next__)
    return build(core(llm=llm), memories=memories, working=working)


async def say(
    kernel: Kernel,
    text: str,
    caller: Agent | None = None,
    *,
    session: str = "s",
    memory: MemoryInjection | None = TWO_TURNS,
    system: str = "",
) -> Generation:
    instructions = (Message("system", system),) if system else ()
    request = GenerateRequest(messages=(*instructions, Message("user", text)), max_tokens=100)
    call = GenerateCall(request=request, session=session, memory=memory)
    return await kernel.llm_generate(caller or agent(), call, ignore)


async def test_the_last_exchanges_stand_between_instructions_and_prompt() -> None:
    llm = Attentive()
    kernel = kernel_with(llm)
    said = [await say(kernel, text) for text in ("one", "two", "three")]
    answer = await say(kernel, "four", system="Be brief.")
    assert llm.asked[-1] == [
        ("system", "Be brief."),
        *[("user", "two"), ("assistant", "two ")],
        *[("user", "three"), ("assistant", "three ")],
        ("user", "four"),
    ]
    assert answer.turns == (said[1].request_id, said[2].request_id)
    assert said[0].turns == ()


async def test_no_other_session_and_no_other_agent_recalls_them() -> None:
    llm = Attentive()
    kernel = kernel_with(llm)
    await say(kernel, "my secret")
    await say(kernel, "hello", session="other")
    await say(kernel, "hello", agent("ben"))
    assert llm.asked[1:] == [[("user", "hello")]] * 2


async def test_nothing_is_kept_unless_a_call_asks_for_it() -> None:
    llm = Attentive()
    kernel = kernel_with(llm)
    await say(kernel, "not kept", memory=None)
    await say(kernel, "nor this", session="")
    await say(kernel, "hello")
    assert llm.asked[-1] == [("user", "hello")]


async def test_memories_and_exchanges_share_the_room() -> None:
    llm = Attentive()
    kernel = kernel_with(llm)
    await kernel.add_memory(agent(), AddCall(draft=MemoryDraft(content="tea is green")))
    await say(kernel, "long " * 100)
    await say(kernel, "tea")
    memory = MemoryInjection(k=3, turns=5, max_tokens=100)
    answer = await say(kernel, "tea?", memory=memory)
    # The long one does not fit into half of the room, nor would any before it.
    assert llm.asked[-1] == [
        ("system", "Relevant memories:\n- tea is green"),
        *[("user", "tea"), ("assistant", "tea ")],
        ("user", "tea?"),
    ]
    assert (len(answer.memories), len(answer.turns)) == (1, 1)


async def test_a_token_without_rights_to_self_neither_recalls_nor_leaves_anything() -> None:
    llm = Attentive()
    kernel = kernel_with(llm)
    tiers = frozenset({"balanced"})
    await say(kernel, "kept")
    blind = agent(grants=Grants(tiers=tiers, read=("shared",), write=("self/*",)))
    with pytest.raises(NotPermittedError, match="namespace 'self' cannot be read"):
        await say(kernel, "x", blind)
    mute = agent(grants=Grants(tiers=tiers, read=("self/*",)))
    assert len((await say(kernel, "not kept", mute)).turns) == 1
    assert len((await say(kernel, "hello")).turns) == 1


async def test_an_answer_that_cannot_be_kept_is_still_an_answer() -> None:
    kernel = kernel_with(Attentive(), FullSessions())
    assert (await say(kernel, "hello")).text == "hello "
