"""Streamable HTTP: each request is a POST, whose response carries all that belongs to it."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

import anyio
import httpx2
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from backends.messages import JsonObject
from backends.tool_servers.http_client import (
    EVENT_STREAM,
    JSON,
    WAIT_SECONDS,
    EventMessages,
    failures_named,
    kind_of,
    messages_of,
    open_client,
    read_body,
    read_error,
    refuse_status,
)
from backends.tool_servers.jsonrpc import METHOD_NOT_FOUND, Message, RpcError, encode
from backends.tool_servers.link import (
    LIST_BYTES,
    LinkClosedError,
    OnMessage,
    Request,
    SessionLostError,
)
from backends.tool_servers.settings import HttpServer

_SESSION = "mcp-session-id"
_GOODBYE_SECONDS = 0.5
_REOPEN_SECONDS = 15.0
_MAYBE_CHANGED = Message(method="notifications/tools/list_changed", params={}, size_bytes=0)


@asynccontextmanager
async def open_http(settings: HttpServer) -> AsyncGenerator["HttpLink"]:
    """Give a link to an HTTP server; nothing is sent before the first request."""
    async with open_client(settings) as client:
        link = HttpLink(client, settings.url)
        try:
            yield link
        finally:
            await link.close()


class HttpLink:
    """A link that holds no connection, only what the server wants to hear again."""

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self._session: str | None = None
        self._version: str | None = None
        self._adopted = anyio.Event()
        self._exchanges = 0
        self._drained = anyio.Event()
        self._is_closed = False

    @asynccontextmanager
    async def exchange(self, request: Request, /) -> AsyncGenerator[AsyncIterator[Message]]:
        """Send a request and give what comes back for it."""
        if self._is_closed:
            raise LinkClosedError("was taken down")
        self._exchanges += 1
        try:
            async with self._post(request) as answers:
                yield answers
        finally:
            self._exchanges -= 1
            if not self._exchanges:
                self._drained.set()

    @asynccontextmanager
    async def _post(self, request: Request) -> AsyncGenerator[AsyncIterator[Message]]:
        headers = {**self._headers(), **request.headers}
        with failures_named():
            async with AsyncExitStack() as stack:
                response = await stack.enter_async_context(
                    self._client.stream(
                        "POST", self._url, content=encode(request.to_json()), headers=headers
                    )
                )
                if request.method == "initialize":
                    self._session = response.headers.get(_SESSION)
                answers = await self._answers(request, response, stack)
                yield answers
                if isinstance(answers, _Resumable):
                    await answers.finish()

    async def send(self, message: JsonObject, /) -> None:
        """Send a notification or an answer."""
        if self._is_modern and message.get("method") == "notifications/cancelled":
            # Closing the response was the cancellation.
            return
        with failures_named(), anyio.move_on_after(WAIT_SECONDS):
            async with self._client.stream(
                "POST", self._url, content=encode(message), headers=self._headers()
            ):
                pass

    def adopt(self, version: str, /) -> None:
        """Name the version in every later request, and start to listen."""
        self._version = version
        self._adopted.set()

    async def run(self, on_message: OnMessage, /) -> LinkClosedError:
        """Listen to what a server of the older era says between requests; never ends."""
        await self._adopted.wait()
        while not self._is_modern:
            # Requests will tell whether the server is gone; nobody waits for this stream.
            with suppress(LinkClosedError), failures_named():
                if not await self._listen(on_message):
                    break
            await anyio.sleep(_REOPEN_SECONDS)
            # What changed in between was not announced.
            await on_message(_MAYBE_CHANGED)
        await anyio.sleep_forever()
        raise AssertionError

    async def drain(self) -> None:
        """Wait for open exchanges: one that failed says nothing about the others."""
        while self._exchanges:
            self._drained = anyio.Event()
            await self._drained.wait()

    async def close(self) -> None:
        """Take no more exchanges; tell a server of the older era that its session is over."""
        self._is_closed = True
        if self._session is not None:
            with anyio.move_on_after(_GOODBYE_SECONDS, shield=True), suppress(httpx2.HTTPError):
                await self._client.delete(self._url, headers=self._headers())

    def resume(self, last_id: str) -> AbstractAsyncContextManager[httpx2.Response]:
        """Open the rest of a stream."""
        headers = {**self._headers(), "last-event-id": last_id}
        return self._client.stream("GET", self._url, headers=headers)

    @property
    def _is_modern(self) -> bool:
        return self._version in MODERN_PROTOCOL_VERSIONS

    def _headers(self) -> Mapping[str, str]:
        headers = {"content-type": JSON, "accept": f"{JSON}, {EVENT_STREAM}"}
        if self._session is not None:
            headers[_SESSION] = self._session
        if self._version is not None:
            headers["mcp-protocol-version"] = self._version
        return headers

    async def _answers(
        self, request: Request, response: httpx2.Response, stack: AsyncExitStack
    ) -> AsyncIterator[Message]:
        refuse_status(response)
        if response.status_code >= 400:
            return _Given(await self._failure(request, response))
        if kind_of(response) == EVENT_STREAM:
            return _Resumable(self, request, response, stack)
        body = await read_body(response, request.limit_bytes)
        if body.is_cut:
            return _Given(Message(id=request.id, params={}, size_bytes=body.size_bytes))
        return _Given(*messages_of(body))

    async def _failure(self, request: Request, response: httpx2.Response) -> Message:
        """Give the error that a response with an error status stands for."""
        status = response.status_code
        said = await read_error(response)
        if self._session is not None and request.method != "initialize":
            is_about_session = said is None or "session" in str(said).lower()
            if status == 404 or (status == 400 and is_about_session):
                self._session = None
                raise SessionLostError("has forgotten the session")
        error = said or RpcError(METHOD_NOT_FOUND, f"the server answered HTTP {status}")
        return Message(id=request.id, params={}, error=error, size_bytes=0)

    async def _listen(self, on_message: OnMessage) -> bool:
        """Read one stream to its end; say whether the server offers any."""
        async with self._client.stream("GET", self._url, headers=self._headers()) as response:
            if response.status_code >= 400 or kind_of(response) != EVENT_STREAM:
                return False
            async for message in EventMessages(response, LIST_BYTES):
                await on_message(message)
        return True


class _Given:
    """Messages that are all there."""

    def __init__(self, *messages: Message) -> None:
        self._messages = iter(messages)

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        for message in self._messages:
            return message
        raise StopAsyncIteration


class _Resumable:
    """The messages of a stream; one that ends before its answer is resumed where it can be."""

    def __init__(
        self, link: HttpLink, request: Request, response: httpx2.Response, stack: AsyncExitStack
    ) -> None:
        self._link = link
        self._request = request
        self._stack = stack
        self._stream = EventMessages(response, request.limit_bytes)

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        while True:
            try:
                message = await anext(self._stream)
            except StopAsyncIteration:
                await self._resume()
                continue
            if message.method is None and message.result is None and message.error is None:
                # An answer too large to keep; on this stream it can only be ours.
                return Message(id=self._request.id, params={}, size_bytes=message.size_bytes)
            return message

    async def finish(self) -> None:
        """Leave the connection as one that can be used again."""
        await self._stream.finish()

    async def _resume(self) -> None:
        last_id = self._stream.last_id
        if last_id is None:
            raise StopAsyncIteration
        await anyio.sleep(self._stream.retry_seconds)
        response = await self._stack.enter_async_context(self._link.resume(last_id))
        refuse_status(response)
        if response.status_code >= 400 or kind_of(response) != EVENT_STREAM:
            raise StopAsyncIteration
        self._stream = EventMessages(response, self._request.limit_bytes)
