"""The resources: the kernel's state as JSON, for the agent that asks and nobody else."""

import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote

from mcp_types import ReadResourceResult, Resource, ResourceTemplate, TextResourceContents

from aios_mcp.errors import NotFoundError
from aios_mcp.kernel import Agent, Kernel
from aios_mcp.kernel.calls import CoreReport, SearchCall
from aios_mcp.server.downstream_tools import tool_as_json
from aios_mcp.server.memory_tools import hit_as_json, iso
from backends.messages import MemoryQuery

SCHEME = "aios://"
_JSON = "application/json"
_MOST_TOOLS = 10_000

Read: TypeAlias = Callable[[Kernel, Agent], Awaitable[object]]
ReadOne: TypeAlias = Callable[[Kernel, Agent, str], Awaitable[object]]


def resources() -> list[Resource]:
    """List the resources that stand still."""
    return [
        _resource("cores", "Cores", "The models you may use: state, load, speed and price."),
        _resource("policy/me", "Your rights", "What you may do and how much you may use up."),
        _resource("queue", "Queue", "Your calls in line and at work, and how busy your cores are."),
        _resource("status", "Status", "The kernel at a glance, as far as your rights reach."),
        _resource("usage/me", "Your usage", "What you used of today's budget."),
    ]


def templates() -> list[ResourceTemplate]:
    """List the families of resources."""
    return [
        _template("audit/{id}", "Audit record", "How one of your calls ended and what it used."),
        _template("memory/{id}", "Memory", "One memory, by its id."),
        _template("memory/{id}/history", "Versions", "All versions of a memory, newest first."),
        _template("tools/{server}/{tool}", "Tool", "One downstream tool with its schemas."),
    ]


async def read(kernel: Kernel, agent: Agent, uri: str) -> ReadResourceResult:
    """Read a resource.

    Raises:
        NotFoundError: There is none of that URI within the agent's reach.
        KernelError, SchedulerError, StoreError: See `aios_mcp.errors`.
    """
    path = uri.removeprefix(SCHEME)
    family, _, rest = path.partition("/")
    if path in _STATIC:
        value = await _STATIC[path](kernel, agent)
    elif family in _FAMILIES and rest:
        value = await _FAMILIES[family](kernel, agent, rest)
    else:
        raise NotFoundError(f"no resource {uri!r}")
    text = json.dumps(value, ensure_ascii=False, indent=1)
    contents = TextResourceContents(uri=uri, mime_type=_JSON, text=text)
    return ReadResourceResult(contents=[contents])


def _resource(path: str, title: str, description: str) -> Resource:
    return Resource(
        uri=SCHEME + path, name=path, title=title, description=description, mime_type=_JSON
    )


def _template(path: str, title: str, description: str) -> ResourceTemplate:
    return ResourceTemplate(
        uri_template=SCHEME + path,
        name=path.partition("/")[0],
        title=title,
        description=description,
        mime_type=_JSON,
    )


async def _status(kernel: Kernel, agent: Agent) -> object:
    report = await kernel.status(agent)
    return {
        **dataclasses.asdict(report),
        "cores": [_core(core) for core in report.cores],
        "servers": {server.name: dataclasses.asdict(server.status) for server in report.servers},
    }


async def _cores(kernel: Kernel, agent: Agent) -> object:
    return {"cores": [_core(core) for core in kernel.cores(agent)]}


async def _queue(kernel: Kernel, agent: Agent) -> object:
    return dataclasses.asdict(await kernel.queue(agent))


async def _usage(kernel: Kernel, agent: Agent) -> object:
    return dataclasses.asdict(await kernel.usage(agent))


async def _policy(kernel: Kernel, agent: Agent) -> object:
    del kernel
    grants = agent.grants
    return {
        "agent": agent.name,
        # A tool must match one pattern of each list, and none of deny.
        "tools": [list(patterns) for patterns in grants.tools],
        "deny": list(grants.deny),
        "arguments": [_set_parts(rule) for rule in grants.arguments],
        "memory": {"read": list(grants.read), "write": list(grants.write)},
        "llm": {
            "tiers": sorted(grants.tiers),
            "cores": sorted(grants.cores),
            "max_tokens": grants.max_tokens,
        },
        "allowance": dataclasses.asdict(agent.allowance),
        "observe": grants.observe,
    }


async def _audit(kernel: Kernel, agent: Agent, request_id: str) -> object:
    records = await kernel.audit(agent, request_id=unquote(request_id), limit=1)
    if not records:
        raise NotFoundError(f"no audit record {request_id!r}")
    [record] = records
    closed = None if record.closed is None else iso(record.closed)
    return {**dataclasses.asdict(record), "opened": iso(record.opened), "closed": closed}


async def _memory(kernel: Kernel, agent: Agent, memory_id: str) -> object:
    name, _, part = memory_id.partition("/")
    if part not in ("", "history"):
        raise NotFoundError(f"no memory {memory_id!r}")
    call = SearchCall(query=MemoryQuery(id=unquote(name), k=1, history=bool(part)))
    hits = await kernel.search_memory(agent, call)
    if not hits:
        raise NotFoundError(f"no memory {memory_id!r}")
    return [hit_as_json(hit) for hit in hits] if part else hit_as_json(hits[0])


async def _tool(kernel: Kernel, agent: Agent, path: str) -> object:
    server, _, name = path.partition("/")
    full = f"{unquote(server)}.{unquote(name)}"
    found = await kernel.find_tools(agent, None, unquote(server), _MOST_TOOLS)
    for tool in found.tools:
        if tool.name == full:
            return tool_as_json(tool)
    raise NotFoundError(f"no tool {full!r}")


def _core(core: CoreReport) -> dict[str, Any]:
    names = ("input", "cached_input", "output")
    price = None if core.price is None else dict(zip(names, core.price, strict=True))
    return {**dataclasses.asdict(core), "price": price}


def _set_parts(rule: Any) -> dict[str, Any]:
    return {key: each for key, each in dataclasses.asdict(rule).items() if each is not None}


_STATIC: Mapping[str, Read] = {
    "cores": _cores,
    "policy/me": _policy,
    "queue": _queue,
    "status": _status,
    "usage/me": _usage,
}
_FAMILIES: Mapping[str, ReadOne] = {"audit": _audit, "memory": _memory, "tools": _tool}
