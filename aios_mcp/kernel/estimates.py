"""How many tokens a prompt may have, before a core has counted them."""

import json
import math
from collections.abc import Iterator

from aios_mcp.kernel.calls import GenerateCall
from backends.messages import GenerateRequest, Usage

_MESSAGE_OVERHEAD_TOKENS = 16
_TOOLS_OVERHEAD_TOKENS = 512  # templates and endpoints explain to the model how to ask for them
_BYTES_PER_TOKEN = 4


def most_tokens(request: GenerateRequest) -> int:
    """Bound the tokens of a prompt from above: a token is at least one byte of UTF-8."""
    written = sum(
        len(text.encode("utf-8", "replace")) + _MESSAGE_OVERHEAD_TOKENS for text in _texts(request)
    )
    return written + (_TOOLS_OVERHEAD_TOKENS if request.tools else 0)


def likely_tokens(request: GenerateRequest) -> int:
    """Estimate the tokens of a prompt, for calls that end before the core has counted them."""
    return math.ceil(most_tokens(request) / _BYTES_PER_TOKEN)


def worst_usage(call: GenerateCall) -> Usage:
    """Bound what a call may use; injected memories count with their whole room."""
    room = call.memory.max_tokens if call.memory else 0
    return Usage(
        input_tokens=most_tokens(call.request) + room, output_tokens=call.request.max_tokens
    )


def _texts(request: GenerateRequest) -> Iterator[str]:
    """Give all that becomes part of the prompt."""
    for message in request.messages:
        yield message.text
        for call in message.calls:
            yield _as_json([call.id, call.name, call.arguments])
    for tool in request.tools:
        yield _as_json([tool.name, tool.description, tool.input_schema])
    if request.schema is not None:
        yield _as_json(request.schema)


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
