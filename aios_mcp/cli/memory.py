"""`aios-mcp memory`: what an agent remembers, for the operator to fill, see, move and thin out.

Each command is the agent's own call: within its rights and quotas, and on record. Kernels that run
meanwhile are not disturbed; they share the database.
"""

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

from aios_mcp.app import open_kernel
from aios_mcp.cli.failures import leaves
from aios_mcp.cli.memory_documents import add_documents
from aios_mcp.cli.memory_transfers import export_memories, import_memories
from aios_mcp.config import LoadedConfig, load_config
from aios_mcp.kernel import Agent, Kernel
from aios_mcp.kernel.calls import ForgetCall, SearchCall
from aios_mcp.transfers.calls import patiently, read_memories
from backends.messages import MemoryQuery, MemoryRecord, Selection

_LINE_CHARACTERS = 100

Verb = Callable[[Kernel, Agent, argparse.Namespace], Awaitable[int]]


def run(args: argparse.Namespace) -> int:
    """Run one of the verbs; gives 1 where some of the work could not be done."""
    try:
        return anyio.run(_run, load_config(args.config), args)
    except BaseExceptionGroup as group:
        if all(isinstance(leaf, BrokenPipeError) for leaf in leaves(group)):
            raise BrokenPipeError from group
        raise


async def _run(loaded: LoadedConfig, args: argparse.Namespace) -> int:
    async with open_kernel(loaded.config, loaded.base) as app:
        agent = app.agents.get(args.agent or loaded.config.kernel.default_agent)
        return await _VERBS[args.verb](app.kernel, agent, args)


async def _list(kernel: Kernel, agent: Agent, args: argparse.Namespace) -> int:
    async for record in _current(kernel, agent, args):
        print(_line(record.id, record.namespace, record.draft.kind, record.draft.content))
    return 0


async def _search(kernel: Kernel, agent: Agent, args: argparse.Namespace) -> int:
    query = MemoryQuery(text=" ".join(args.query), k=args.most, kinds=tuple(args.kind))
    call = SearchCall(query=query, namespace=args.namespace)
    hits = await patiently(lambda: kernel.search_memory(agent, call))
    for hit in hits:
        print(f"{hit.score:.3f}  {_line(hit.id, hit.namespace, hit.kind, hit.content)}")
    return 0 if hits else 1


async def _forget(kernel: Kernel, agent: Agent, args: argparse.Namespace) -> int:
    selection = Selection(
        ids=tuple(args.ids),
        kinds=tuple(args.kind),
        tags=tuple(args.tag),
        session=args.session or None,
    )
    call = ForgetCall(selection=selection, namespace=args.namespace, reason=args.reason)
    gone = await patiently(lambda: kernel.forget_memory(agent, call))
    exchanges = f", and {gone.exchanges} exchanges" if gone.exchanges else ""
    print(f"forgot {gone.memories}{exchanges}")
    return 0 if gone.memories or gone.exchanges else 1


async def _count(kernel: Kernel, agent: Agent, args: argparse.Namespace) -> int:
    counts: dict[tuple[str, str], int] = {}
    async for record in _current(kernel, agent, args):
        key = record.namespace, record.draft.kind
        counts[key] = counts.get(key, 0) + 1
    for (namespace, kind), count in sorted(counts.items()):
        print(f"{count:8}  {namespace}  {kind}")
    print(f"{sum(counts.values()):8}  in all")
    return 0


async def _current(
    kernel: Kernel, agent: Agent, args: argparse.Namespace
) -> AsyncIterator[MemoryRecord]:
    async for record in read_memories(kernel, agent, args.namespace):
        if record.is_current:
            yield record


def _line(memory: str, namespace: str, kind: str, content: str) -> str:
    text = " ".join(content.split())
    shown = text if len(text) <= _LINE_CHARACTERS else text[: _LINE_CHARACTERS - 1] + "…"
    return f"{memory}  {namespace}  {kind}  {shown}"


_VERBS: dict[str, Verb] = {
    "add-documents": add_documents,
    "export": export_memories,
    "import": import_memories,
    "list": _list,
    "search": _search,
    "forget": _forget,
    "count": _count,
}
