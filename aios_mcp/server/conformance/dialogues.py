"""Tools that turn to the client while they run: the way of revisions before 2026-07-28."""

from typing import Any

import anyio
from mcp.server import MCPServer
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from mcp_types import EmptyResult, SamplingMessage, SetLevelRequestParams, TextContent

from aios_mcp.server.conformance.tools import STEP_SECONDS

_DEFAULTS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {
            "type": "string",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "default": True},
    },
}
_ENUMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {
            "type": "string",
            "oneOf": [
                {"const": "value1", "title": "First Option"},
                {"const": "value2", "title": "Second Option"},
                {"const": "value3", "title": "Third Option"},
            ],
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array",
            "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
        },
        "titledMulti": {
            "type": "array",
            "items": {
                "anyOf": [
                    {"const": "value1", "title": "First Choice"},
                    {"const": "value2", "title": "Second Choice"},
                    {"const": "value3", "title": "Third Choice"},
                ]
            },
        },
    },
}
_USER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    },
    "required": ["username", "email"],
}


def add_dialogues(server: MCPServer[Any]) -> None:
    """Register them."""
    for tool in (
        test_tool_with_logging,
        test_logging_tool,
        test_sampling,
        test_elicitation,
        test_elicitation_sep1034_defaults,
        test_elicitation_sep1330_enums,
        test_reconnection,
    ):
        server.add_tool(tool, structured_output=False)
    # logging/setLevel has no decorator, as the newest revision has no such method.
    low_level = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]
    low_level.add_request_handler("logging/setLevel", SetLevelRequestParams, _set_level)


async def test_tool_with_logging(ctx: Context[Any, Any]) -> str:
    """Log three lines."""
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await _log(ctx, line)
        await anyio.sleep(STEP_SECONDS)
    return "logged"


async def test_logging_tool(ctx: Context[Any, Any]) -> str:
    """Log a line, which reaches only clients that asked for lines."""
    await _log(ctx, "a line")
    return "logged"


async def test_sampling(prompt: str, ctx: Context[Any, Any]) -> str:
    """Let the client's model answer."""
    message = SamplingMessage(role="user", content=TextContent(text=prompt))
    result = await ctx.session.create_message(  # pyright: ignore[reportDeprecated]
        [message], max_tokens=100, related_request_id=ctx.request_id
    )
    content = result.content
    text = content.text if isinstance(content, TextContent) else str(content)
    return f"LLM response: {text}"


async def test_elicitation(message: str, ctx: Context[Any, Any]) -> str:
    """Let the user answer."""
    return f"User response: {await _elicit(ctx, message, _USER)}"


async def test_elicitation_sep1034_defaults(ctx: Context[Any, Any]) -> str:
    """Ask with defaults of each type."""
    return f"Elicitation completed: {await _elicit(ctx, 'Check these defaults', _DEFAULTS)}"


async def test_elicitation_sep1330_enums(ctx: Context[Any, Any]) -> str:
    """Ask with enumerations of each kind."""
    return f"Elicitation completed: {await _elicit(ctx, 'Choose', _ENUMS)}"


async def test_reconnection(ctx: Context[Any, Any]) -> str:
    """Close the stream while working; the client comes back for the answer."""
    await ctx.close_sse_stream()
    await anyio.sleep(STEP_SECONDS)
    return "Reconnection test completed"


async def _elicit(ctx: Context[Any, Any], message: str, schema: dict[str, Any]) -> str:
    result = await ctx.session.elicit_form(message, schema, ctx.request_id)
    return f"action={result.action}, content={result.content}"


async def _log(ctx: Context[Any, Any], line: str) -> None:
    await ctx.info(line)  # pyright: ignore[reportDeprecated]


async def _set_level(
    ctx: ServerRequestContext[Any, Any], params: SetLevelRequestParams
) -> EmptyResult:
    del ctx, params  # all lines here are of one level
    return EmptyResult()
