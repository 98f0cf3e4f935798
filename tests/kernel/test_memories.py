"""The memory syscalls, and memories in front of a prompt."""

import itertools

import pytest

from aios_mcp.errors import NotPermittedError
from aios_mcp.kernel import Grants, Kernel
from aios_mcp.kernel.calls import (
    AddCall,
    ForgetCall,
    Forgotten,
    GenerateCall,
    MemoryInjection,
    SearchCall,
)
from backends.messages import (
    Completion,
    CoreStatus,
    GenerateRequest,
    MemoryDraft,
    MemoryQuery,
    Message,
    Selection,
    Usage,
)
from backends.protocols import Emit, Turn
from backends.scripted import ListJournal
from backends.scripted_memories import ListMemories
from backends.turns import UNINTERRUPTED
from tests.kernel.kernels import NOW, agent, build, core, ignore


class Attentive:
    """A core that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Message, ...]] = []

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        self.asked.append(request.messages)
        return Completion("", "stop", Usage(input_tokens=1, output_tokens=1))

    def status(self) -> CoreStatus:
        return CoreStatus(model="attentive", state="ready")


def kernel_with(llm: Attentive, journal: ListJournal | None = None) -> Kernel:
    ids = (f"m{number}" for number in itertools.count(1))
    memories = ListMemories(now=lambda: NOW, new_id=ids.__next__)
    return build(core(llm=llm), memories=memories, journal=journal)


async def add(kernel: Kernel, content: str, name: str = "ada", namespace: str = "self") -> str:
    call = AddCall(draft=MemoryDraft(content=content), namespace=namespace)
    return (await kernel.add_memory(agent(name), call)).id


def ask(*messages: Message, query: str | None = None) -> GenerateCall:
    return GenerateCall(
        request=GenerateRequest(messages=messages), memory=MemoryInjection(query=query)
    )


async def test_memories_that_fit_the_last_question_stand_in_front_of_the_prompt() -> None:
    llm = Attentive()
    kernel = kernel_with(llm)
    key = await add(kernel, "the key is in\nthe drawer")
    await add(kernel, "green tea")
    asked = Message("user", "where is the key")
    answer = await kernel.llm_generate(agent(), ask(asked), ignore)
    memory = Message("system", "Relevant memories:\n- the key is in the drawer")
    assert llm.asked == [(memory, asked)]
    assert answer.memories == (key,)


async def test_memories_follow_the_system_message_there_is() -> None:
    llm = Attentive()
    kernel = kernel_with(llm)
    await add(kernel, "tea is green")
    rules, asked = Message("system", "Be brief."), Message("user", "what now")
    await kernel.llm_generate(agent(), ask(rules, asked, query="tea"), ignore)
    both = Message("system", "Be brief.\n\nRelevant memories:\n- tea is green")
    assert llm.asked == [(both, asked)]


async def test_a_prompt_that_no_memory_of_its_agent_fits_is_left_as_it_is() -> None:
    llm = Attentive()
    kernel = kernel_with(llm)
    await add(kernel, "the key is in the drawer", name="ben")
    asked = Message("user", "where is the key")
    answer = await kernel.llm_generate(agent("ada"), ask(asked), ignore)
    assert llm.asked == [(asked,)]
    assert answer.memories == ()


async def test_an_agent_that_may_read_nothing_gets_no_memories() -> None:
    kernel = kernel_with(Attentive())
    blind = agent(grants=Grants(tiers=frozenset({"balanced"})))
    with pytest.raises(NotPermittedError, match="its namespaces: none"):
        await kernel.llm_generate(blind, ask(Message("user", "key")), ignore)


async def test_a_memory_says_who_added_it_and_by_which_call() -> None:
    journal = ListJournal()
    kernel = kernel_with(Attentive(), journal)
    await add(kernel, "tea is green")
    [hit] = await kernel.search_memory(agent(), SearchCall(query=MemoryQuery(text="tea")))
    [added, _] = journal.audit
    assert hit.source == {"agent": "ada", "tool": "add_memory", "request": added.request_id}


async def test_a_namespace_without_a_grant_is_neither_read_nor_written() -> None:
    kernel = kernel_with(Attentive())
    with pytest.raises(NotPermittedError, match="'team' cannot be written"):
        await add(kernel, "x", namespace="team")
    with pytest.raises(NotPermittedError, match="'team' cannot be read"):
        await kernel.search_memory(
            agent(), SearchCall(query=MemoryQuery(text="x"), namespace="team")
        )
    with pytest.raises(NotPermittedError, match="'team' cannot be written"):
        await kernel.forget_memory(
            agent(), ForgetCall(selection=Selection(ids=("m1",)), namespace="team")
        )


async def test_common_ground_is_shared_and_forgotten_by_those_who_may_write_it() -> None:
    kernel = kernel_with(Attentive())
    shared = await add(kernel, "tea at four", namespace="shared")
    search = SearchCall(query=MemoryQuery(text="tea"))
    assert [hit.id for hit in await kernel.search_memory(agent("ben"), search)] == [shared]
    forget = ForgetCall(selection=Selection(ids=(shared,)))
    gone = await kernel.forget_memory(agent("ben"), forget)
    assert gone == Forgotten(memories=1, exchanges=0)
    assert await kernel.search_memory(agent("ada"), search) == ()
