"""Answers as JSON, to give them again for the same idempotency key."""

from typing import TypeVar

from pydantic import TypeAdapter

from aios_mcp.kernel.calls import Generation
from backends.messages import ToolResult

T = TypeVar("T")

_GENERATION = TypeAdapter(Generation)
_TOOL_RESULT = TypeAdapter(ToolResult)


def generation_to_json(generation: Generation) -> str:
    """Write a generation."""
    return _GENERATION.dump_json(generation).decode()


def generation_from_json(text: str) -> Generation:
    """Read a generation back."""
    return _GENERATION.validate_json(text)


def tool_result_to_json(result: ToolResult) -> str:
    """Write a tool result."""
    return _TOOL_RESULT.dump_json(result).decode()


def tool_result_from_json(text: str) -> ToolResult:
    """Read a tool result back."""
    return _TOOL_RESULT.validate_json(text)
