"""What both HTTP transports share: the client, how it fails, and the messages of a response."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress

import anyio
import httpx2

from backends.tool_servers.events import EventReader, ServerEvent
from backends.tool_servers.jsonrpc import GarbageError, Message, RpcError, read_messages
from backends.tool_servers.lines import Line
from backends.tool_servers.link import LinkClosedError
from backends.tool_servers.settings import HttpServer

EVENT_STREAM = "text/event-stream"
JSON = "application/json"
WAIT_SECONDS = 10.0
_ERROR_BYTES = 64 * 1024
_FINISH_SECONDS = 0.05


@asynccontextmanager
async def open_client(settings: HttpServer) -> AsyncGenerator[httpx2.AsyncClient]:
    """Give a client that keeps connections alive and follows no redirect.

    Raises:
        LinkClosedError: A header cannot be sent.
    """
    wait = min(WAIT_SECONDS, settings.connect_deadline_seconds)
    try:
        client = httpx2.AsyncClient(
            # Compressed answers are not asked for: a small one could unpack to a huge one.
            headers={**settings.headers, "accept-encoding": "identity"},
            timeout=httpx2.Timeout(wait, read=None, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32),
            follow_redirects=False,
            # Making a TLS context takes 20 ms, which a plain URL need not pay.
            verify=settings.url.startswith("https:"),
        )
    except (ValueError, TypeError) as error:
        raise LinkClosedError("cannot be reached; check its headers") from error
    async with client:
        yield client


@contextmanager
def failures_named() -> Generator[None]:
    """Turn failures of the network into ours; their texts hold addresses, so they are not kept."""
    try:
        yield
    except (httpx2.ConnectError, httpx2.InvalidURL) as error:
        raise LinkClosedError("cannot be reached; check its url") from error
    except httpx2.TimeoutException as error:
        raise LinkClosedError("does not take requests") from error
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise LinkClosedError("broke the connection off") from error


def refuse_status(response: httpx2.Response) -> None:
    """Check that a response is one to a request that was let in.

    Raises:
        LinkClosedError: It is not.
    """
    status = response.status_code
    if status in {401, 403}:
        raise LinkClosedError(f"refuses our credentials (HTTP {status}); check its headers")
    if status in {429, 502, 503, 504}:
        after = response.headers.get("retry-after", "")
        seconds = float(after) if after.isdigit() and len(after) < 6 else 0.0
        raise LinkClosedError(f"is busy (HTTP {status})", retry_after_seconds=seconds)
    if 300 <= status < 400:
        raise LinkClosedError(f"has moved (HTTP {status}); set its url to the new address")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise LinkClosedError("compresses its answers though it was asked not to")


def kind_of(response: httpx2.Response) -> str:
    """Give the content type, without parameters."""
    found: str = response.headers.get("content-type", "")
    return found.partition(";")[0].strip().lower()


async def read_body(response: httpx2.Response, limit_bytes: int) -> Line:
    """Read a body as one line; of one above the limit only the size is given."""
    parts: list[bytes] = []
    size = 0
    async with aclosing(response.aiter_raw()) as chunks:
        async for chunk in chunks:
            size += len(chunk)
            if size > limit_bytes:
                declared: str = response.headers.get("content-length", "")
                return Line(b"", max(size, int(declared) if declared.isdigit() else 0))
            parts.append(chunk)
    return Line(b"".join(parts), size)


async def read_error(response: httpx2.Response) -> RpcError | None:
    """Give the JSON-RPC error in the body of a response, if there is one."""
    if kind_of(response) != JSON:
        return None
    body = await read_body(response, _ERROR_BYTES)
    return next((message.error for message in messages_of(body) if message.error), None)


def messages_of(line: Line) -> tuple[Message, ...]:
    """Read messages; what is none is passed over."""
    try:
        return read_messages(line) if line.size_bytes else ()
    except GarbageError:
        return ()


class EventMessages:
    """The events of a stream and the messages in them.

    Attributes:
        last_id: Id of the latest event that had one: where to resume.
        retry_seconds: How long the server wants a client to wait before that.
    """

    def __init__(self, response: httpx2.Response, limit_bytes: int) -> None:
        self.last_id: str | None = None
        self.retry_seconds = 1.0
        self._chunks = response.aiter_raw()
        self._reader = EventReader(limit_bytes)
        self._waiting: deque[Message] = deque()

    async def events(self) -> list[ServerEvent]:
        """Wait for events.

        Raises:
            StopAsyncIteration: There will be no more.
        """
        events = self._reader.feed(await anext(self._chunks))
        for event in events:
            self.last_id = event.id or self.last_id
            if event.retry_seconds is not None:
                self.retry_seconds = event.retry_seconds
        return events

    async def finish(self) -> None:
        """Read what is left, for a moment, so that the connection can be used again."""
        with anyio.move_on_after(_FINISH_SECONDS), suppress(httpx2.HTTPError):
            async for _ in self._chunks:
                pass

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        while not self._waiting:
            for event in await self.events():
                if event.kind == "message":
                    self._waiting += messages_of(event.payload)
        return self._waiting.popleft()
