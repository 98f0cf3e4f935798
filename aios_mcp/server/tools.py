"""The six tools, and how a call of one runs: identity, progress, work, and failures as results."""

from collections.abc import Awaitable, Callable, Mapping

from mcp_types import CallToolResult

from aios_mcp.errors import KernelError
from aios_mcp.kernel import Agent
from aios_mcp.server.downstream_tools import execute_tool, find_tools
from aios_mcp.server.errors import error_result
from aios_mcp.server.llm_tools import llm_generate
from aios_mcp.server.memory_tools import add_memory, forget_memory, search_memory
from aios_mcp.server.progress import Report, Tell, reporting
from aios_mcp.server.syscalls import Syscall


def syscalls() -> Mapping[str, Syscall]:
    """Give the six tools by name."""
    all_six = (
        llm_generate(),
        find_tools(),
        execute_tool(),
        add_memory(),
        search_memory(),
        forget_memory(),
    )
    return {each.tool.name: each for each in all_six}


async def run_call(
    work: Callable[[Agent, Report], Awaitable[CallToolResult]],
    *,
    agent_of: Callable[[], Agent],
    waiting: Callable[[Agent], str],
    tell: Tell,
) -> CallToolResult:
    """Run one call; every failure becomes a tool error.

    Args:
        work: Does it.
        agent_of: Says who calls.
        waiting: Says what is waited for, as long as the work has said nothing itself.
        tell: Sends one progress notification.
    """
    try:
        agent = agent_of()
    except KernelError as exc:
        return error_result(exc)
    async with reporting(tell, lambda: waiting(agent)) as report:
        # Caught inside: a task group would wrap it.
        try:
            return await work(agent, report)
        except Exception as exc:  # noqa: BLE001 - error_result logs what is a bug
            return error_result(exc)
