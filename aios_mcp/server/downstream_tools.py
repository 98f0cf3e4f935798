"""The tools `find_tools` and `execute_tool`: the door to downstream servers."""

import json
from typing import Any, cast

from mcp_types import CallToolResult, ContentBlock, TextContent, ToolAnnotations
from pydantic import TypeAdapter, ValidationError

from aios_mcp.kernel import Agent, Kernel
from aios_mcp.kernel.calls import FoundTool, ToolCall, ToolOutcome
from aios_mcp.server.answers import FOUND
from aios_mcp.server.progress import Report
from aios_mcp.server.schemas import ExecuteArguments, FindArguments
from aios_mcp.server.syscalls import LANES, Syscall, result, seconds, syscall
from backends.messages import JsonObject

_SUMMARY_CHARACTERS = 200
_BLOCK: TypeAdapter[ContentBlock] = TypeAdapter(ContentBlock)


def find_tools() -> Syscall:
    """Give the tool."""
    return syscall(
        FindArguments,
        _find,
        name="find_tools",
        title="Find tools",
        description=(
            "Find the tools of downstream servers that you may call with execute_tool: by words of"
            " what is to be done, best match first, or all of a server. Each comes with its full"
            " name, description and input_schema; an argument with ? may be left out. Examples:"
            ' {"query": "read a file"}; {"server": "fs", "limit": 50}.'
        ),
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=True),
        answer=FOUND,
        waiting=lambda kernel, agent: "asking the tool servers",
    )


def execute_tool() -> Syscall:
    """Give the tool."""
    return syscall(
        ExecuteArguments,
        _execute,
        name="execute_tool",
        title="Run a downstream tool",
        description=(
            "Run one tool of a downstream server and give its result back unchanged. Take the name"
            " and the arguments' schema from find_tools. Example:"
            ' {"tool": "fs.read_text_file", "arguments": {"path": "/data/notes.txt"}}.'
        ),
        # Unknown before the call: whatever the downstream tool does.
        annotations=ToolAnnotations(
            read_only_hint=False,
            destructive_hint=True,
            idempotent_hint=False,
            open_world_hint=True,
        ),
        answer=None,
        waiting=lambda kernel, agent: "waiting for the tool",
    )


def tool_as_json(tool: FoundTool) -> dict[str, Any]:
    """Give a downstream tool as the surface shows it."""
    spec = tool.spec
    shown: dict[str, Any] = {
        "name": tool.name,
        "description": spec.description,
        "input_schema": spec.input_schema,
    }
    optional: dict[str, Any] = {
        "title": spec.title,
        "output_schema": spec.output_schema,
        "annotations": spec.annotations,
    }
    return shown | {key: each for key, each in optional.items() if each is not None}


def outcome_result(outcome: ToolOutcome) -> CallToolResult:
    """Give the downstream result unchanged, with the kernel's own figures in `_meta`."""
    answer = outcome.result
    return CallToolResult(
        content=[_block(each) for each in answer.content],
        structured_content=answer.structured,
        is_error=answer.is_error,
        _meta={
            "queue_ms": outcome.queue_ms,
            "run_ms": outcome.run_ms,
            "audit_id": outcome.audit_id,
        },
    )


async def _find(
    kernel: Kernel, agent: Agent, arguments: FindArguments, report: Report
) -> CallToolResult:
    del report
    found = await kernel.find_tools(agent, arguments.query, arguments.server, arguments.limit)
    lines = [
        f"- {tool.name}({_signature(tool.spec.input_schema)}): {_summary(tool.spec.description)}"
        for tool in found.tools
    ]
    if found.unreachable:
        lines.append(f"Could not be asked: {', '.join(found.unreachable)}.")
    return result(
        "\n".join(lines) or "No tool that you may call fits.",
        {
            "tools": [tool_as_json(tool) for tool in found.tools],
            "unreachable": list(found.unreachable),
        },
    )


async def _execute(
    kernel: Kernel, agent: Agent, arguments: ExecuteArguments, report: Report
) -> CallToolResult:
    call = ToolCall(
        tool=arguments.tool,
        arguments=arguments.arguments,
        lane=LANES[arguments.priority],
        deadline_seconds=seconds(arguments.deadline_ms),
        idempotency_key=arguments.idempotency_key,
    )
    outcome = await kernel.execute_tool(agent, call, report.progress, report.in_line)
    return outcome_result(outcome)


def _signature(schema: JsonObject) -> str:
    """Give the arguments in short, for models that are shown the text only."""
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict):
        return ""
    names = cast("dict[str, object]", properties)
    needed = cast("list[object]", required) if isinstance(required, list) else []
    return ", ".join(
        f"{name}{'' if name in needed else '?'}: {_type(each)}" for name, each in names.items()
    )


def _type(schema: object) -> str:
    kind = cast("JsonObject", schema).get("type") if isinstance(schema, dict) else None
    return kind if isinstance(kind, str) else "any"


def _summary(description: str) -> str:
    line = " ".join(description.split())
    short = line[: _SUMMARY_CHARACTERS - 1]
    return line if len(line) <= _SUMMARY_CHARACTERS else short.rpartition(" ")[0] + "…"


def _block(block: JsonObject) -> ContentBlock:
    try:
        return _BLOCK.validate_python(block, by_name=False)
    except ValidationError:
        # A kind of content that this protocol revision does not know: better as text than not.
        return TextContent(type="text", text=json.dumps(block, ensure_ascii=False, default=str))
