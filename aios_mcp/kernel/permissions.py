"""What an agent may ask of each syscall: looked at once by the gate, before anything is held."""

from collections.abc import Sequence

from aios_mcp.errors import InvalidArgumentError, NotPermittedError
from aios_mcp.kernel.agents import Agent
from aios_mcp.kernel.calls import GenerateCall, ToolCall
from aios_mcp.kernel.capabilities import covers, reaches_of
from aios_mcp.kernel.cores import Core, Cores
from aios_mcp.kernel.tool_catalog import ToolCatalog
from backends.messages import Reach


def check_generate(agent: Agent, call: GenerateCall, cores: Cores) -> Sequence[Core]:
    """Give the cores that may run a call.

    Raises:
        NotPermittedError: There is none, or the agent may not ask for what the call wants.
    """
    chosen = cores.choose(agent, call)
    wanted, most = call.request.max_tokens, agent.grants.max_tokens
    if wanted > most:
        raise NotPermittedError(
            f"max_tokens is {wanted}, agent {agent.name!r} may ask for at most {most}",
            rule="llm.max_tokens",
        )
    if call.memory is not None:
        check_namespace(agent, agent.grants.read, None, "read")
    return chosen


def check_tool(agent: Agent, call: ToolCall, catalog: ToolCatalog) -> None:
    """See that an agent may call a tool with its arguments.

    Raises:
        InvalidArgumentError: The name is not a tool's full name.
        NotPermittedError: There is no such tool, or none for this agent: both read the same.
    """
    server, dot, _ = call.tool.partition(".")
    if not dot:
        raise InvalidArgumentError(
            f"tool is {call.tool!r}; give its full name, server.tool, as find_tools lists it"
        )
    if catalog.server(server) is None or not agent.grants.allows_tool(call.tool):
        raise tool_denied(agent, call.tool, rule="tools")
    if not agent.grants.allows_arguments(call.tool, call.arguments):
        raise NotPermittedError(
            f"agent {agent.name!r} may not call {call.tool!r} with these arguments",
            rule="args",
        )


def check_namespace(agent: Agent, granted: Sequence[str], namespace: str | None, verb: str) -> None:
    """See that an agent may use a namespace.

    Args:
        agent: Who asks.
        granted: The patterns it may read, or those it may write.
        namespace: What it names; None is all that is granted.
        verb: What it wants, such as `read`.

    Raises:
        NotPermittedError: No pattern covers it.
    """
    allowed = (
        bool(granted)
        if namespace is None
        else any(covers(pattern, namespace) for pattern in granted)
    )
    if not allowed:
        names = ", ".join(granted) or "none"
        what = "memory" if namespace is None else f"namespace {namespace!r}"
        raise NotPermittedError(
            f"{what} cannot be {verb} by agent {agent.name!r}; its namespaces: {names}",
            rule=f"memory.{verb}",
        )


def reach_of(agent: Agent, granted: Sequence[str], namespace: str | None) -> tuple[Reach, ...]:
    """Give what a namespace means to an agent, or all that it was granted."""
    return reaches_of(agent.name, granted if namespace is None else (namespace,))


def tool_denied(agent: Agent, tool: str, *, rule: str) -> NotPermittedError:
    """Give the one text for tools that are not there and for those that are not for the agent."""
    return NotPermittedError(
        f"tool {tool!r} is not available to agent {agent.name!r}; find_tools lists those that are",
        rule=rule,
    )
