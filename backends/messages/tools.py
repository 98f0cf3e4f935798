"""What goes to tool servers and comes back."""

from dataclasses import dataclass
from typing import Literal

from backends.messages.json_values import JsonObject

ERRAND_KEY = "aios-mcp/errand"
"""The key of a request's `_meta` under which a tool server is told a token, and gives it back."""

ServerState = Literal["idle", "starting", "ready", "waiting", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """One tool as its server publishes it; JSON parts are kept as they came."""

    name: str
    description: str
    input_schema: JsonObject
    title: str | None = None
    output_schema: JsonObject | None = None
    annotations: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool answered, unchanged: content blocks in wire form.

    Attributes:
        content: Content blocks, each a JSON object as it came over the wire.
        structured: `structuredContent`, or None.
        is_error: The tool failed and says so for the model to read.
    """

    content: tuple[JsonObject, ...]
    structured: object | None = None
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """A progress notification of a running tool."""

    progress: float
    total: float | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """What is known of a tool server. `waiting` means down, with a restart due."""

    state: ServerState
    tools: int = 0
    restarts: int = 0
    last_failure: str = ""
