"""The HTTP transport of 2024: one stream of events from the server, and an address to post to."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2

from backends.tool_servers.events import ServerEvent
from backends.tool_servers.http_client import (
    EVENT_STREAM,
    JSON,
    EventMessages,
    failures_named,
    kind_of,
    open_client,
    refuse_status,
)
from backends.tool_servers.jsonrpc import RpcError
from backends.tool_servers.lines import Line
from backends.tool_servers.link import LIST_BYTES, LinkClosedError, SessionLostError
from backends.tool_servers.settings import HttpServer


@asynccontextmanager
async def open_sse(settings: HttpServer) -> AsyncGenerator["SsePipe"]:
    """Give a pipe to an SSE server; it connects when it is read."""
    async with open_client(settings) as client:
        pipe = SsePipe(client, settings.url, max(settings.max_result_bytes, LIST_BYTES))
        try:
            yield pipe
        finally:
            await pipe.close()


class SsePipe:
    """Reads events, and posts messages to the address that the first event names."""

    def __init__(self, client: httpx2.AsyncClient, url: str, limit_bytes: int) -> None:
        self._client = client
        self._url = url
        self._limit_bytes = limit_bytes
        self._response: httpx2.Response | None = None
        self._stream: EventMessages | None = None
        self._post_url = ""
        self._has_address = anyio.Event()

    async def write(self, message: bytes, /) -> None:
        """Post a message, as soon as the address is known."""
        await self._has_address.wait()
        with failures_named():
            async with self._client.stream(
                "POST", self._post_url, content=message, headers={"content-type": JSON}
            ) as response:
                status = response.status_code
                if status in {404, 410}:
                    raise SessionLostError("has forgotten the session")
                refuse_status(response)
                if status >= 400:
                    raise RpcError(0, f"the server answered HTTP {status}")

    async def read(self) -> Sequence[Line]:
        """Wait for messages."""
        with failures_named():
            stream = self._stream or await self._connect()
            try:
                events = await stream.events()
            except StopAsyncIteration:
                raise LinkClosedError("closed the stream") from None
        return [event.payload for event in events if self._is_message(event)]

    async def close(self) -> None:
        """Close the stream."""
        if self._response is not None:
            with anyio.CancelScope(shield=True):
                await self._response.aclose()

    async def _connect(self) -> EventMessages:
        request = self._client.build_request("GET", self._url, headers={"accept": EVENT_STREAM})
        self._response = await self._client.send(request, stream=True)
        refuse_status(self._response)
        if self._response.status_code >= 400 or kind_of(self._response) != EVENT_STREAM:
            status = self._response.status_code
            raise LinkClosedError(f"offers no SSE stream (HTTP {status}); check its url")
        self._stream = EventMessages(self._response, self._limit_bytes)
        return self._stream

    def _is_message(self, event: ServerEvent) -> bool:
        if event.kind == "endpoint" and not self._has_address.is_set():
            self._set_address(event.payload.content.decode("utf-8", "replace"))
        return event.kind == "message" and event.payload.size_bytes > 0

    def _set_address(self, address: str) -> None:
        url = urljoin(self._url, address)
        # Our headers may hold a credential, which no other host must get.
        if urlsplit(url)[:2] != urlsplit(self._url)[:2]:
            raise LinkClosedError("names an address on another host to post to")
        self._post_url = url
        self._has_address.set()
