"""The last exchanges of a session in front of the next prompt."""

import itertools
from typing import Any

import pytest

from aios_mcp.errors import NotPermittedError
from aios_mcp.kernel import Agent, Grants, Kernel
from aios_mcp.kernel.calls import (
    AddCall,
    ForgetCall,
    Forgotten,
    GenerateCall,
    Generation,
    MemoryInjection,
)
from aios_mcp.kernel.working_memory import WorkingMemory
from backends.errors import StoreError
from backends.messages import (
    Completion,
    CoreStatus,
    Exchange,
    GenerateRequest,
    MemoryDraft,
    Message,
    Selection,
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

    async def forget(self, agent: str, session: str, /, *, until: float | None = None) -> int:
        return 0


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


async def forget(
    kernel: Kernel, *, caller: Agent | None = None, namespace: str | None = None, **fields: Any
) -> Forgotten:
    call = ForgetCall(selection=Selection(**fields), namespace=namespace)
    return await kernel.forget_memory(caller or agent(), call)


async def test_a_session_is_forgotten_with_its_memories() -> None:
    kernel = kernel_with(Attentive())
    for session in ("s", "other"):
        for text in ("one", "two"):
            await say(kernel, text, session=session)
    await say(kernel, "one", agent("ben"))
    for namespace in ("self", "self/work", "shared"):
        draft = MemoryDraft(content=f"tea {namespace}", session="s")
        await kernel.add_memory(agent(), AddCall(draft=draft, namespace=namespace))
    assert await forget(kernel, session="s") == Forgotten(memories=2, exchanges=2)
    assert await forget(kernel, session="s") == Forgotten(memories=0, exchanges=0)
    assert (await say(kernel, "hello")).turns == ()
    assert len((await say(kernel, "hello", session="other")).turns) == 2
    assert len((await say(kernel, "hello", agent("ben"))).turns) == 1
    # In common ground a session of that name may be another's, so it has to be named.
    in_common = await forget(kernel, session="s", namespace="shared")
    assert in_common == Forgotten(memories=1, exchanges=0)


async def test_exchanges_stay_where_a_filter_does_not_mean_them_or_the_agent_may_not() -> None:
    kernel = kernel_with(Attentive())
    await say(kernel, "one")
    mute = agent(grants=Grants(read=("self/*",), write=("self/work", "shared")))
    for gone in (
        await forget(kernel, tags=("s",)),
        await forget(kernel, session="s", kinds=("fact",)),
        await forget(kernel, session="s", until=NOW),
        await forget(kernel, session="s", namespace="self/work"),
        await forget(kernel, session="s", caller=mute),
    ):
        assert gone == Forgotten(memories=0, exchanges=0)
    assert (await forget(kernel, session="s", until=NOW + 1)).exchanges == 1


async def test_an_answer_that_cannot_be_kept_is_still_an_answer() -> None:
    kernel = kernel_with(Attentive(), FullSessions())
    assert (await say(kernel, "hello")).text == "hello "
