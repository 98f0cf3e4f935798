"""Servers over scripted kernels, and a memory store that keeps everything in a list."""

from collections.abc import Mapping, Sequence
from typing import Literal

import anyio.lowlevel

from aios_mcp.kernel import Agent, Agents, Allowance, Grants, Kernel
from aios_mcp.server import AiosServer, Surface, build_server
from backends.errors import MemoryNotFoundError
from backends.messages import (
    Added,
    Hit,
    MemoryCounts,
    MemoryDraft,
    MemoryQuery,
    Place,
    Reach,
    Selection,
)
from tests.kernel.kernels import NOW, agent, build

SECRETS = {"ada": "ada-secret", "bob": "bob-secret"}


class ListMemories:
    """Finds a memory by any of the query's words."""

    def __init__(self) -> None:
        self._rows: list[tuple[Place, Hit]] = []

    async def add(self, draft: MemoryDraft, place: Place, /) -> Added:
        await anyio.lowlevel.checkpoint()
        for kept, hit in self._rows:
            if kept == place and hit.content == draft.content:
                return Added(hit.id, deduplicated=True)
        hit = Hit(
            id=f"m{len(self._rows) + 1}",
            content=draft.content,
            score=1.0,
            kind=draft.kind,
            tags=draft.tags,
            namespace=place.namespace,
            created=NOW,
            data=draft.data,
            source=draft.source,
        )
        self._rows.append((place, hit))
        return Added(hit.id, replaced=draft.replaces)

    async def search(self, query: MemoryQuery, reach: Sequence[Reach], /) -> tuple[Hit, ...]:
        await anyio.lowlevel.checkpoint()
        within = [hit for place, hit in self._rows if _reaches(reach, place)]
        if query.id is not None:
            found = tuple(hit for hit in within if hit.id == query.id)
            if not found:
                raise MemoryNotFoundError(f"no memory {query.id!r}")
            return found
        words = set((query.text or "").lower().split())
        return tuple(hit for hit in within if words & set(hit.content.lower().split()))[: query.k]

    async def forget(self, selection: Selection, reach: Sequence[Reach], reason: str, /) -> int:
        await anyio.lowlevel.checkpoint()
        before = len(self._rows)
        self._rows = [
            (place, hit)
            for place, hit in self._rows
            if not (_reaches(reach, place) and hit.id in selection.ids)
        ]
        return before - len(self._rows)

    async def count(self, owner: str, /) -> MemoryCounts:
        await anyio.lowlevel.checkpoint()
        texts = [hit.content for place, hit in self._rows if place.owner == owner]
        return MemoryCounts(rows=len(texts), size_bytes=sum(map(len, texts)))


def _reaches(reach: Sequence[Reach], place: Place) -> bool:
    return any(
        each.owner == place.owner
        and any(
            place.namespace == pattern
            or (pattern.endswith("/*") and f"{place.namespace}/".startswith(pattern[:-1]))
            for pattern in each.patterns
        )
        for each in reach
    )


def known(*some: Agent) -> Agents:
    """Give ada, and others, each with a secret where there is one."""
    everyone = {each.name: each for each in some or (agent(),)}
    secrets = {name: SECRETS[name] for name in everyone if name in SECRETS}
    return Agents(everyone, secrets=secrets, token_key=b"k" * 32, now=lambda: NOW)


def limited(name: str) -> Agent:
    """Give an agent that may echo but not wait, with a budget for one long answer at a time."""
    grants = Grants(
        tools=(("demo.echo",),),
        read=("self/*", "shared"),
        write=("self/*", "shared"),
        tiers=frozenset({"balanced"}),
        max_tokens=1000,
    )
    return agent(name, grants=grants, allowance=Allowance(tokens_per_day=8000))


def server(
    kernel: Kernel | None = None,
    *,
    agents: Agents | None = None,
    default_agent: str = "ada",
    expose: Literal["gateway", "passthrough"] = "gateway",
    exposed: Mapping[str, Sequence[str]] | None = None,
) -> AiosServer:
    """Give a server; without more, ada may do everything and keeps memories in a list."""
    return build_server(
        Surface(
            kernel=kernel or build(memories=ListMemories()),
            agents=agents or known(),
            default_agent=default_agent,
            expose=expose,
            exposed=exposed or {},
        )
    )
