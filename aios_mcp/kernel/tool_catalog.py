"""Which downstream tools there are, and which of them fit a query.

Ranking is by words: how many of the query's stand in a tool's name and description, rare ones
counting more. The weighting is inverse document frequency (Sparck Jones, 1972).
"""

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import anyio

from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.calls import FoundTool, FoundTools
from backends.errors import ToolServerError
from backends.messages import ServerStatus
from backends.protocols import ToolServer

_NAME_WEIGHT = 3.0
_WORD = re.compile(r"[a-z]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

logger = logging.getLogger(__name__)


class ToolCatalog:
    """The tools of all servers, as one agent may see them."""

    def __init__(self, servers: Mapping[str, ToolServer], *, list_seconds: float) -> None:
        self._servers = dict(servers)
        self._list_seconds = list_seconds

    def server(self, name: str) -> ToolServer | None:
        """Give a server by name, or None."""
        return self._servers.get(name)

    def names(self) -> tuple[str, ...]:
        """Give the names of all servers."""
        return tuple(self._servers)

    def statuses(self, agent: Agent) -> Mapping[str, ServerStatus]:
        """Say how the servers are that an agent may have tools of."""
        return {
            name: server.status()
            for name, server in self._servers.items()
            if agent.grants.may_allow_server(name)
        }

    async def find(
        self, agent: Agent, *, query: str | None, server: str | None, limit: int
    ) -> FoundTools:
        """List permitted tools: the best matches for a query, or all by name."""
        wanted = [
            name
            for name in self._servers
            if server in (None, name) and agent.grants.may_allow_server(name)
        ]
        listed: dict[str, tuple[FoundTool, ...]] = {}
        async with anyio.create_task_group() as tg:
            for name in wanted:
                tg.start_soon(self._list_into, listed, name)
        permitted = [
            tool
            for name in sorted(listed)
            for tool in listed[name]
            if agent.grants.allows_tool(tool.name)
        ]
        tools = permitted if not query else rank(permitted, query)
        return FoundTools(
            tools=tuple(tools[:limit]),
            unreachable=tuple(sorted(name for name in wanted if name not in listed)),
        )

    async def _list_into(self, listed: dict[str, tuple[FoundTool, ...]], name: str) -> None:
        with anyio.move_on_after(self._list_seconds):
            try:
                specs = await self._servers[name].list_tools()
            except ToolServerError:
                logger.warning("tool server not listed", extra={"server": name}, exc_info=True)
                return
            listed[name] = tuple(FoundTool(f"{name}.{spec.name}", name, spec) for spec in specs)


def rank(tools: Sequence[FoundTool], query: str) -> list[FoundTool]:
    """Order tools by how well they fit a query; those without a word of it are left out."""
    wanted = set(_words(query))
    words = [_weights(tool) for tool in tools]
    spread = Counter(word for each in words for word in each)
    scored: list[tuple[float, str, FoundTool]] = []
    for tool, each in zip(tools, words, strict=True):
        score = sum(
            each[word] * math.log(1 + len(tools) / spread[word]) for word in wanted if word in each
        )
        if score > 0:
            scored.append((-score, tool.name, tool))
    return [tool for _, _, tool in sorted(scored, key=lambda entry: entry[:2])]


def _weights(tool: FoundTool) -> dict[str, float]:
    weights = dict.fromkeys(_words(f"{tool.spec.title or ''} {tool.spec.description}"), 1.0)
    return weights | dict.fromkeys(_words(tool.name), _NAME_WEIGHT)


def _words(text: str) -> list[str]:
    return [_stem(word) for word in _WORD.findall(_CAMEL.sub(" ", text).lower())]


def _stem(word: str) -> str:
    # Plural and singular name the same thing in a tool's description; more would be guessing.
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
