"""Prompts of each kind, and the completion of their arguments."""

from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    EmbeddedResource,
    ImageContent,
    PromptReference,
    ResourceTemplateReference,
    TextResourceContents,
)

from aios_mcp.server.conformance.samples import PNG_BASE64

_WORDS = ("paris", "park", "party", "test", "text")


def add_prompts(server: MCPServer[Any]) -> None:
    """Register them."""
    for prompt in (
        test_simple_prompt,
        test_prompt_with_arguments,
        test_prompt_with_embedded_resource,
        test_prompt_with_image,
    ):
        server.add_prompt(Prompt.from_function(prompt))
    server.completion()(_complete)  # type: ignore[no-untyped-call]


async def test_simple_prompt() -> str:
    """Give a line of text."""
    return "This is a simple prompt for testing."


async def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """Quote both arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


async def test_prompt_with_embedded_resource(
    resourceUri: str,  # the suite's name for it
) -> list[UserMessage]:
    """Give a resource with its content."""
    contents = TextResourceContents(
        uri=resourceUri, mime_type="text/plain", text="Embedded resource content for testing."
    )
    return [
        UserMessage(EmbeddedResource(resource=contents)),
        UserMessage("Please process the embedded resource above."),
    ]


async def test_prompt_with_image() -> list[UserMessage]:
    """Give a picture."""
    return [
        UserMessage(ImageContent(data=PNG_BASE64, mime_type="image/png")),
        UserMessage("Please analyze the image above."),
    ]


async def _complete(
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,
) -> Completion:
    del ref, context
    values = [word for word in _WORDS if word.startswith(argument.value)]
    return Completion(values=values, total=len(values), has_more=False)
