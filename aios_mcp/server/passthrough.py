"""Downstream tools under names of their own, `server__tool`, for those who chose `passthrough`.

A call takes the same way as `execute_tool`: this changes what is listed, not what is allowed.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from mcp_types import CallToolResult, Tool
from pydantic import ValidationError

from aios_mcp.kernel import Agent, Kernel
from aios_mcp.kernel.calls import FoundTool, ToolCall
from aios_mcp.server.downstream_tools import outcome_result
from aios_mcp.server.progress import Report
from aios_mcp.server.syscalls import Start

SEPARATOR = "__"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_MOST_TOOLS = 10_000

logger = logging.getLogger(__name__)


class Passthrough:
    """Which downstream tools are published, and how their names are read."""

    def __init__(self, exposed: Mapping[str, Sequence[str]]) -> None:
        # Longest first: a server's own name may hold the separator.
        names = sorted(exposed, key=len, reverse=True)
        self._exposed = {name: tuple(exposed[name]) for name in names}

    async def tools(self, kernel: Kernel, agent: Agent) -> list[Tool]:
        """List what the agent may call, with the downstream schemas as they are."""
        if not self._exposed:
            return []
        found = await kernel.find_tools(agent, None, None, _MOST_TOOLS)
        chosen = [each for each in found.tools if self._publishes(each.server, each.spec.name)]
        return [tool for tool in map(_published, chosen) if tool is not None]

    def start(self, name: str) -> Start | None:
        """Give what runs a published tool; None for a name that cannot be one."""
        for server in self._exposed:
            stem = server + SEPARATOR
            tool = name.removeprefix(stem)
            if name.startswith(stem) and self._publishes(server, tool):
                return _start(f"{server}.{tool}")
        return None

    def _publishes(self, server: str, tool: str) -> bool:
        return any(fnmatchcase(tool, pattern) for pattern in self._exposed.get(server, ()))


def _start(tool: str) -> Start:
    async def start(
        kernel: Kernel, agent: Agent, given: Mapping[str, object], report: Report
    ) -> CallToolResult:
        call = ToolCall(tool=tool, arguments=dict(given))
        outcome = await kernel.execute_tool(agent, call, report.progress, report.in_line)
        return outcome_result(outcome)

    return start


def _published(found: FoundTool) -> Tool | None:
    spec = found.spec
    name = f"{found.server}{SEPARATOR}{spec.name}"
    # Without its output schema: an error of the kernel need not satisfy it.
    wire = {
        "name": name,
        "title": spec.title,
        "description": spec.description,
        "inputSchema": {"type": "object", **spec.input_schema},
        "annotations": spec.annotations,
    }
    try:
        return Tool.model_validate(wire, by_name=False) if _NAME.fullmatch(name) else None
    except ValidationError:
        logger.warning("downstream tool not published", extra={"tool": name})
        return None
