"""Request bodies: bounded in size and in the time they take to arrive."""

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aios_mcp.server.http.answers import refusal


class BodyLimits:
    """ASGI: reads a request's body, and answers 413 or 408 to one too large or too slow.

    Of any method: the SDK waits for the body of a GET too, and without a deadline.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read: Message | Response = refusal(
            408, f"the body took longer than {self._seconds:g} s", {"Connection": "close"}
        )
        with anyio.move_on_after(self._seconds):
            read = await self._read(scope, receive)
        if isinstance(read, Response):
            await read(scope, receive, send)
        elif read["type"] == "http.request":  # otherwise the client has gone
            await self._app(scope, _first(read, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> Message | Response:
        too_large = refusal(413, f"the body is larger than {self._max_bytes} bytes")
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            return too_large
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                return too_large
            if not message.get("more_body", False):
                return {"type": "http.request", "body": bytes(body), "more_body": False}


def _first(message: Message, receive: Receive) -> Receive:
    waiting = [message]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
