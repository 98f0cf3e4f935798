"""The HTTP client of one endpoint: what it sends, and bounds on what it takes in."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import anyio
import httpx2
from openai import AsyncOpenAI, DefaultAioHttpClient

from backends.openai_compatible.settings import OpenAISettings

_MAX_ERROR_BYTES = 64 * 1024
_KEEPALIVE_SECONDS = 3.0
_CLOSE_SECONDS = 1.0
_SENT_HEADERS = frozenset({"host", "accept", "connection", "content-length", "content-type"})


@asynccontextmanager
async def open_client(settings: OpenAISettings) -> AsyncGenerator[AsyncOpenAI]:
    """Open a client that retries nothing, follows no redirect and knows no other credential."""
    timeout = httpx2.Timeout(
        connect=settings.connect_deadline_seconds,
        pool=settings.connect_deadline_seconds,
        read=settings.idle_deadline_seconds,
        write=settings.idle_deadline_seconds,
    )

    async def reduce_headers(request: httpx2.Request) -> None:
        # The client adds headers from its environment variables, among them an organisation and
        # whole credentials, and describes this machine. None of that is this endpoint's business.
        kept = {name: value for name, value in request.headers.items() if name in _SENT_HEADERS}
        # Compressed answers could unpack to any size.
        kept |= {"accept-encoding": "identity", "user-agent": "aios-mcp"}
        if settings.api_key is not None:
            kept["authorization"] = f"Bearer {settings.api_key}"
        request.headers = httpx2.Headers(kept)

    http = DefaultAioHttpClient(
        timeout=timeout,
        # Idle connections are dropped before servers do so (5 seconds is common): a request that
        # meets a connection being closed fails, and must not be sent twice.
        limits=httpx2.Limits(
            max_connections=settings.max_connections, keepalive_expiry=_KEEPALIVE_SECONDS
        ),
        follow_redirects=False,
        # No cookies: calls of different agents have no session, and one that is not ASCII would
        # fail every later request.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        # Proxies and certificates of the environment are for the world outside this machine.
        trust_env=not settings.is_loopback,
        event_hooks={"request": [reduce_headers], "response": [_cap_error_body]},
    )
    client = AsyncOpenAI(
        base_url=settings.base_url,
        api_key="set by reduce_headers",
        timeout=timeout,
        max_retries=0,
        http_client=http,
    )
    async with client:
        yield client


@asynccontextmanager
async def closing(response: httpx2.Response) -> AsyncGenerator[httpx2.Response]:
    """Close a response with the block.

    Cancelled or not: the endpoint works, and bills, until it sees the connection closed.
    """
    try:
        yield response
    finally:
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            await response.aclose()


async def _cap_error_body(response: httpx2.Response) -> None:
    if not response.is_success:
        response.headers.pop("content-encoding", None)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Head(response.stream, _MAX_ERROR_BYTES)


class _Head(httpx2.AsyncByteStream):
    """The first bytes of a body."""

    def __init__(self, body: httpx2.AsyncByteStream, max_bytes: int) -> None:
        self._body = body
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._max_bytes
        async for chunk in self._body:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._body.aclose()
