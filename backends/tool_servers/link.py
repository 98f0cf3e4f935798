"""What a connection needs of the transport below it, and how that transport fails."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup

from backends.messages import JsonObject
from backends.tool_servers.jsonrpc import Message

OnMessage: TypeAlias = Callable[[Message], Awaitable[None]]
"""Receives what belongs to no request of ours."""

LIST_BYTES = 8 * 1024 * 1024
"""Largest message that answers anything but a call."""


class LinkClosedError(Exception):
    """The link has ended. The text completes `tool server NAME ...` and is fit for the wire.

    Attributes:
        retry_after_seconds: The shortest wait that the server asked for.
    """

    def __init__(self, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ProcessEndedError(LinkClosedError):
    """The server's process has ended."""


class SessionLostError(LinkClosedError):
    """The server has forgotten the session and did not run the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request on its way out.

    Attributes:
        headers: Parameters that Streamable HTTP repeats as headers.
        limit_bytes: Largest answer; of a larger one only its size is given.
    """

    id: int
    method: str
    params: JsonObject
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    limit_bytes: int = LIST_BYTES

    def to_json(self) -> JsonObject:
        """Give it as a JSON-RPC message."""
        return {"jsonrpc": "2.0", "id": self.id, "method": self.method, "params": self.params}


class Link(Protocol):
    """One way to one server. All waits are bounded by the caller's deadline."""

    def exchange(self, request: Request, /) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Send a request and give what comes back for it, its answer last.

        Raises:
            LinkClosedError: The link has ended.
        """
        ...

    async def send(self, message: JsonObject, /) -> None:
        """Send a notification or an answer.

        Raises:
            LinkClosedError: The link has ended.
        """
        ...

    def adopt(self, version: str, /) -> None:
        """Take note of the protocol version that was agreed on."""
        ...

    async def run(self, on_message: OnMessage, /) -> LinkClosedError:
        """Receive until the link ends; give the reason."""
        ...

    async def drain(self) -> None:
        """Wait for the exchanges that may end well though the link is given up."""
        ...


OpenLink: TypeAlias = Callable[[], AbstractAsyncContextManager[Link]]


@asynccontextmanager
async def own_tasks() -> AsyncGenerator[TaskGroup]:
    """Run tasks that end with the block; an error of the block leaves it as it is, ungrouped."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:  # noqa: BLE001 - raised again below
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
