"""Tools that answer at once: each kind of content, errors, progress, and schemas."""

from typing import Annotated, Any

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
)
from pydantic import Field

from aios_mcp.server.conformance.samples import PNG_BASE64, WAV_BASE64

STEP_SECONDS = 0.05

_JSON_SCHEMA_TOOL = "json_schema_2020_12_tool"
_JSON_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def add_tools(server: MCPServer[Any]) -> None:
    """Register them."""
    for tool in (
        test_simple_text,
        test_image_content,
        test_audio_content,
        test_embedded_resource,
        test_multiple_content_types,
        test_error_handling,
        test_tool_with_progress,
        test_custom_header,
        test_missing_capability,
        test_trigger_tool_change,
        test_trigger_prompt_change,
    ):
        server.add_tool(tool, structured_output=False)
    _add_json_schema_tool(server)


def _add_json_schema_tool(server: MCPServer[Any]) -> None:
    async def answer() -> str:
        return "ok"

    description = "Publishes a schema with keywords of JSON Schema 2020-12."
    server.add_tool(
        answer, name=_JSON_SCHEMA_TOOL, description=description, structured_output=False
    )
    # The SDK has no public way to publish a schema that no signature gives.
    tool = server._tool_manager.get_tool(_JSON_SCHEMA_TOOL)  # pyright: ignore[reportPrivateUsage]
    assert tool is not None
    tool.parameters = _JSON_SCHEMA


async def test_simple_text() -> str:
    """Give a line of text."""
    return "This is a simple text response for testing."


async def test_image_content() -> ImageContent:
    """Give a picture."""
    return _image()


async def test_audio_content() -> AudioContent:
    """Give a sound."""
    return AudioContent(data=WAV_BASE64, mime_type="audio/wav")


async def test_embedded_resource() -> EmbeddedResource:
    """Give a resource with its content."""
    return _embedded(
        "test://embedded-resource", "text/plain", "This is an embedded resource content."
    )


async def test_multiple_content_types() -> list[ContentBlock]:
    """Give text, a picture and a resource."""
    return [
        TextContent(text="Multiple content types test:"),
        _image(),
        _embedded(
            "test://mixed-content-resource", "application/json", '{"test":"data","value":123}'
        ),
    ]


async def test_error_handling() -> str:
    """Fail.

    Raises:
        ToolError: Always.
    """
    raise ToolError("This tool intentionally returns an error for testing")


async def test_tool_with_progress(ctx: Context[Any, Any]) -> str:
    """Report progress three times."""
    for progress in (0, 50, 100):
        await ctx.report_progress(progress, 100, f"{progress} of 100")
        await anyio.sleep(STEP_SECONDS)
    return "done"


async def test_custom_header(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
) -> str:
    """Take an argument that clients mirror into a header."""
    return f"region {region}"


async def test_missing_capability(ctx: Context[Any, Any]) -> str:
    """Serve only clients that can sample.

    Raises:
        MCPError: The client did not say so.
    """
    capabilities = ctx.client_capabilities
    if capabilities is None or capabilities.sampling is None:
        raise MCPError(
            MISSING_REQUIRED_CLIENT_CAPABILITY,
            "the client must declare sampling",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return "the client can sample"


async def test_trigger_tool_change(ctx: Context[Any, Any]) -> str:
    """Tell listeners that the tools changed."""
    await ctx.notify_tools_changed()
    return "told"


async def test_trigger_prompt_change(ctx: Context[Any, Any]) -> str:
    """Tell listeners that the prompts changed."""
    await ctx.notify_prompts_changed()
    return "told"


def _image() -> ImageContent:
    return ImageContent(data=PNG_BASE64, mime_type="image/png")


def _embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))
