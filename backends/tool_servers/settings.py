"""How a tool server is reached, and the bounds on its work."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

MAX_RESULT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StdioServer:
    """A server that runs as a child process and speaks over its pipes.

    Attributes:
        command: Program and arguments.
        env: Added to the few variables that a server inherits; may hold secrets.
        cwd: Working directory; None is the kernel's own.
        connect_deadline_seconds: For starting it and agreeing on a protocol, and for listing.
        call_deadline_seconds: For one call.
        max_result_bytes: Largest message that may carry a result.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    cwd: Path | None = None
    connect_deadline_seconds: float = 20.0
    call_deadline_seconds: float = 60.0
    max_result_bytes: int = MAX_RESULT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpServer:
    """A server behind a URL; the attributes it shares with `StdioServer` mean the same.

    Attributes:
        url: Its endpoint. Nothing is sent to any other address, and no redirect is followed.
        headers: Sent with every request; may hold secrets.
        transport: Streamable HTTP, or the older HTTP with server-sent events.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    transport: Literal["http", "sse"] = "http"
    connect_deadline_seconds: float = 20.0
    call_deadline_seconds: float = 60.0
    max_result_bytes: int = MAX_RESULT_BYTES
