"""Memories put in front of a prompt."""

from collections.abc import Sequence
from dataclasses import replace

from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.calls import GenerateCall, MemoryInjection
from aios_mcp.kernel.capabilities import reaches_of
from backends.messages import GenerateRequest, Hit, MemoryQuery, Message
from backends.protocols import MemoryStore

MEMORY_HEADING = "Relevant memories:"


async def find_memories(memories: MemoryStore, agent: Agent, call: GenerateCall) -> tuple[Hit, ...]:
    """Find what a call wants in front of its prompt, among what the agent may read.

    Raises:
        StoreError: The database could not be read.
    """
    if call.memory is None or not call.memory.k:
        return ()
    query = _query_of(call.memory, call.request)
    return await memories.search(query, reaches_of(agent.name, agent.grants.read))


def put_in_front(request: GenerateRequest, hits: Sequence[Hit]) -> GenerateRequest:
    """Give the request with memories in its system message."""
    if not hits:
        return request
    lines = "\n".join(f"- {' '.join(hit.content.split())}" for hit in hits)
    block = f"{MEMORY_HEADING}\n{lines}"
    first, *rest = request.messages
    # One system message: many chat templates refuse a second one.
    if first.role == "system":
        messages = (Message("system", f"{first.text}\n\n{block}"), *rest)
    else:
        messages = (Message("system", block), first, *rest)
    return replace(request, messages=messages)


def _query_of(memory: MemoryInjection, request: GenerateRequest) -> MemoryQuery:
    asked = [message.text for message in request.messages if message.role == "user"]
    text = memory.query or (asked or [request.messages[-1].text])[-1]
    return MemoryQuery(text=text, k=memory.k, max_tokens=memory.max_tokens)
