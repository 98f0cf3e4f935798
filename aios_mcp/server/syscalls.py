"""What a tool of the surface is: its published form, and the syscall behind it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from mcp_types import CallToolResult, ContentBlock, TextContent, Tool, ToolAnnotations

from aios_mcp.kernel import Agent, Kernel
from aios_mcp.server.arguments import Arguments, input_schema, parse
from aios_mcp.server.progress import Report
from scheduler import Lane

A = TypeVar("A", bound=Arguments)

Run: TypeAlias = Callable[[Kernel, Agent, A, Report], Awaitable[CallToolResult]]
Start: TypeAlias = Callable[
    [Kernel, Agent, Mapping[str, object], Report], Awaitable[CallToolResult]
]
Waiting: TypeAlias = Callable[[Kernel, Agent], str]

LANES = {"urgent": Lane.URGENT, "normal": Lane.NORMAL, "batch": Lane.BATCH}
"""What the argument `priority` means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Syscall:
    """One of the surface's tools.

    Attributes:
        tool: What `tools/list` says of it.
        start: Parses the arguments and runs the syscall.
        waiting: Says what a call waits for, as long as it has said nothing itself.
    """

    tool: Tool
    start: Start
    waiting: Waiting


def syscall(
    arguments: type[A],
    run: Run[A],
    *,
    name: str,
    title: str,
    description: str,
    annotations: ToolAnnotations,
    answer: dict[str, Any] | None,
    waiting: Waiting,
) -> Syscall:
    """Make a tool of a function that takes parsed arguments.

    Args:
        arguments: Its arguments.
        run: Does the work.
        name: Its name.
        title: Its name for people.
        description: What it does, for a model to read.
        annotations: What it may change.
        answer: JSON Schema of its structured answer; None where a downstream tool decides.
        waiting: As in `Syscall`.
    """

    async def start(
        kernel: Kernel, agent: Agent, given: Mapping[str, object], report: Report
    ) -> CallToolResult:
        return await run(kernel, agent, parse(arguments, given), report)

    tool = Tool(
        name=name,
        title=title,
        description=description,
        input_schema=input_schema(arguments),
        output_schema=answer,
        annotations=annotations,
    )
    return Syscall(tool=tool, start=start, waiting=waiting)


def result(text: str, structured: dict[str, Any], *, notes: Sequence[str] = ()) -> CallToolResult:
    """Give an answer: a text for reading, the same as data, and notes apart from both.

    The first block is the answer and nothing else; notes follow as a second block.
    """
    content: list[ContentBlock] = [TextContent(type="text", text=text)]
    if notes:
        content.append(TextContent(type="text", text="Note: " + " ".join(notes)))
    return CallToolResult(content=content, structured_content=structured)


def seconds(milliseconds: int | None) -> float | None:
    """Give a deadline in seconds."""
    return None if milliseconds is None else milliseconds / 1000
