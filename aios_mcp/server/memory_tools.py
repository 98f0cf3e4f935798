"""The tools `add_memory`, `search_memory` and `forget_memory`."""

import datetime
from typing import Any

from mcp_types import CallToolResult, ToolAnnotations

from aios_mcp.kernel import Agent, Kernel
from aios_mcp.kernel.calls import AddCall, ForgetCall, SearchCall
from aios_mcp.server.answers import ADDED, FORGOTTEN, HITS
from aios_mcp.server.progress import Report
from aios_mcp.server.schemas import AddArguments, ForgetArguments, SearchArguments
from aios_mcp.server.syscalls import Syscall, result, syscall
from backends.messages import (
    FIRST_MOMENT,
    LAST_MOMENT,
    Hit,
    MemoryDraft,
    MemoryQuery,
    Selection,
)

_USUAL_IMPORTANCE = 0.5


def add_memory() -> Syscall:
    """Give the tool."""
    return syscall(
        AddArguments,
        _add,
        name="add_memory",
        title="Remember",
        description=(
            "Store a memory: one fact, decision or preference a call, in words that will make sense"
            " later. It is on disk when this answers. The same text twice is stored once."
            ' Examples: {"content": "Backups run on Fridays at 18:00.", "tags": ["ops"]};'
            ' {"content": "Backups run on Mondays.", "replaces": "ID"}.'
        ),
        annotations=ToolAnnotations(
            read_only_hint=False,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=False,
        ),
        answer=ADDED,
        waiting=_waiting,
    )


def search_memory() -> Syscall:
    """Give the tool."""
    return syscall(
        SearchArguments,
        _search,
        name="search_memory",
        title="Recall",
        description=(
            "Find memories by meaning and by words, best first, or fetch one by its id. Examples:"
            ' {"query": "when do backups run?", "k": 3};'
            ' {"query": "decisions on hosting", "kinds": ["decision"], "since": "2026-01-01"};'
            ' {"id": "ID", "history": true}; {"session": "standup", "k": 20}.'
        ),
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
        answer=HITS,
        waiting=_waiting,
    )


def forget_memory() -> Syscall:
    """Give the tool."""
    return syscall(
        ForgetArguments,
        _forget,
        name="forget_memory",
        title="Forget",
        description=(
            "Take memories out of every later search, by ids or by a filter, and answer how many."
            ' This cannot be undone. Examples: {"ids": ["ID"], "reason": "wrong"};'
            ' {"tags": ["draft"], "until": "2026-01-01"}; {"session": "standup"}.'
        ),
        annotations=ToolAnnotations(
            read_only_hint=False,
            destructive_hint=True,
            idempotent_hint=True,
            open_world_hint=False,
        ),
        answer=FORGOTTEN,
        waiting=_waiting,
    )


def hit_as_json(hit: Hit) -> dict[str, Any]:
    """Give a memory as the surface shows it."""
    optional: dict[str, Any] = {
        "data": hit.data,
        "session": hit.session or None,
        "importance": None if hit.importance == _USUAL_IMPORTANCE else hit.importance,
        "links": [{"relation": name, "id": target} for name, target in hit.links] or None,
        "via": hit.via or None,
        "replaced": hit.replaced,
        "why": hit.why and {name: round(part, 4) for name, part in hit.why.items()},
    }
    return {
        "id": hit.id,
        "content": hit.content,
        "score": round(hit.score, 4),
        "kind": hit.kind,
        "tags": list(hit.tags),
        "namespace": hit.namespace,
        "created": iso(hit.created),
        "source": hit.source,
        **{name: value for name, value in optional.items() if value is not None},
    }


def iso(unix_seconds: float) -> str:
    """Write a moment as ISO 8601, in UTC and to the second; of the years 1 to 9999 the nearest."""
    within = min(max(unix_seconds, FIRST_MOMENT), LAST_MOMENT)
    moment = datetime.datetime.fromtimestamp(within, datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


async def _add(
    kernel: Kernel, agent: Agent, arguments: AddArguments, report: Report
) -> CallToolResult:
    draft = MemoryDraft(
        content=arguments.content,
        kind=arguments.kind,
        tags=tuple(arguments.tags),
        data=arguments.data,
        replaces=arguments.replaces,
        links=tuple((link.relation, link.id) for link in arguments.links),
        expires=arguments.expires,
        session=arguments.session or "",
        importance=arguments.importance,
        created=arguments.created,
        reason=arguments.reason,
        fold=arguments.fold,
        idempotency_key=arguments.idempotency_key,
    )
    call = AddCall(draft=draft, namespace=arguments.namespace)
    added = await kernel.add_memory(agent, call, report.in_line)
    structured: dict[str, Any] = {"id": added.id, "deduplicated": added.deduplicated}
    if added.replaced is not None:
        structured["replaced"] = added.replaced
    verb = "Already stored" if added.deduplicated else "Stored"
    return result(f"{verb} as {added.id}.", structured)


async def _search(
    kernel: Kernel, agent: Agent, arguments: SearchArguments, report: Report
) -> CallToolResult:
    query = MemoryQuery(
        text=arguments.query,
        id=arguments.id,
        k=arguments.k,
        mode=arguments.mode,
        kinds=tuple(arguments.kinds),
        tags=tuple(arguments.tags),
        since=arguments.since,
        until=arguments.until,
        max_tokens=arguments.max_tokens,
        session=arguments.session,
        history=arguments.history,
        links=arguments.links,
        distinct=arguments.distinct,
        recency=arguments.recency,
        importance=arguments.importance,
        explain=arguments.explain,
    )
    call = SearchCall(query=query, namespace=arguments.namespace)
    hits = await kernel.search_memory(agent, call, report.in_line)
    text = "\n".join(_listed(hit) for hit in hits)
    return result(text or "No memory fits.", {"hits": [hit_as_json(hit) for hit in hits]})


async def _forget(
    kernel: Kernel, agent: Agent, arguments: ForgetArguments, report: Report
) -> CallToolResult:
    selection = Selection(
        ids=tuple(arguments.ids),
        kinds=tuple(arguments.kinds),
        tags=tuple(arguments.tags),
        until=arguments.until,
        session=arguments.session,
    )
    call = ForgetCall(selection=selection, namespace=arguments.namespace, reason=arguments.reason)
    gone = await kernel.forget_memory(agent, call, report.in_line)
    structured = {"forgotten": gone.memories}
    if not gone.exchanges:
        return result(f"Forgot {gone.memories} memories.", structured)
    text = f"Forgot {gone.memories} memories, and {gone.exchanges} exchanges of the session."
    return result(text, {**structured, "exchanges": gone.exchanges})


def _listed(hit: Hit) -> str:
    # Indented, so that a memory of several lines does not read as several memories.
    content = "\n  ".join(hit.content.splitlines())
    return f"- {content} [{hit.id}, {iso(hit.created)[:10]}]"


def _waiting(kernel: Kernel, agent: Agent) -> str:
    del kernel, agent
    return "waiting for the memory store"
