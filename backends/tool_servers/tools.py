"""Tools and results: from wire form to the values that cross the seam."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from mcp.shared.inbound import find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map

from backends.messages import JsonObject, ToolProgress, ToolResult, ToolSpec
from backends.tool_servers.jsonrpc import as_object, as_text


@dataclass(frozen=True, slots=True)
class Tool:
    """A published tool.

    Attributes:
        mirrored: Paths of arguments that Streamable HTTP repeats as headers, and their names.
    """

    spec: ToolSpec
    mirrored: Mapping[tuple[str, ...], str]

    def headers(self, arguments: JsonObject) -> Mapping[str, str]:
        """Give the headers that repeat arguments."""
        return mcp_param_headers(self.mirrored, arguments) if self.mirrored else {}


@dataclass(frozen=True, slots=True)
class Listing:
    """All tools of a server, by name, in the order of their names.

    Attributes:
        fresh_seconds: How long the server says it stays true; infinite where it does not say.
    """

    tools: Mapping[str, Tool]
    fresh_seconds: float = math.inf


def read_tool(value: object) -> Tool | None:
    """Read one entry of a tool list; None if it cannot be called by us."""
    body = as_object(value)
    name, schema = body.get("name"), body.get("inputSchema")
    if not isinstance(name, str) or not name or not isinstance(schema, dict):
        return None
    if as_object(body.get("execution")).get("taskSupport") == "required":
        # The tasks of 2025-11-25, an experiment that later versions dropped.
        return None
    input_schema = cast("JsonObject", schema)
    if find_invalid_x_mcp_header(input_schema) is not None:
        return None
    spec = ToolSpec(
        name=name,
        description=as_text(body.get("description")) or "",
        input_schema=input_schema,
        title=as_text(body.get("title")),
        output_schema=as_object(body.get("outputSchema")) or None,
        annotations=as_object(body.get("annotations")) or None,
    )
    return Tool(spec, x_mcp_header_map(input_schema))


def read_result(result: JsonObject) -> ToolResult:
    """Read the result of a call; what is not a result is one that says so."""
    if result.get("resultType", "complete") != "complete":
        return failed("the tool asks for input or starts a task, which is not possible here")
    content = result.get("content", [])
    blocks = cast("list[object]", content) if isinstance(content, list) else [None]
    if not all(isinstance(block, dict) for block in blocks):
        return failed("the tool server answered with something that is not a result")
    return ToolResult(
        content=tuple(cast("list[JsonObject]", blocks)),
        structured=result.get("structuredContent"),
        is_error=result.get("isError") is True,
    )


def failed(text: str) -> ToolResult:
    """Give a result that tells the model what went wrong."""
    return ToolResult(content=({"type": "text", "text": text},), is_error=True)


def read_progress(params: JsonObject) -> ToolProgress | None:
    """Read a progress notification; None where it is not one."""
    progress = _number(params.get("progress"))
    if progress is None:
        return None
    return ToolProgress(progress, _number(params.get("total")), as_text(params.get("message")))


def reads_as_unknown(result: ToolResult, name: str) -> bool:
    """Tell whether an error reads as if there were no such tool; many say it in a result."""
    texts = [str(block.get("text", "")) for block in result.content if block.get("type") == "text"]
    said = " ".join(texts)[:1000].lower()
    return result.is_error and name.lower() in said and ("unknown" in said or "not found" in said)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
