"""Calls and connections in progress: counted, cancelled when their client goes, ended at the stop.

One object stands at both ends of the SDK. As ASGI it sees each HTTP exchange, and so when a client
goes; as MCP middleware it sees each call, whatever HTTP exchange its answer takes.
"""

from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, SubscriptionsListenResult
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aios_mcp.server.http.answers import refusal

_EXCHANGE_KEY = "aios.exchange"
_LISTEN = "subscriptions/listen"
_FLUSH_SECONDS = 0.2
_TURNS = 20


@dataclass(slots=True, eq=False)
class _Exchange:
    """One HTTP request, its answer, and the call it brought.

    Attributes:
        is_stream: A GET, whose answer ends only when one side goes.
    """

    is_stream: bool
    call: anyio.CancelScope | None = None
    listening: anyio.CancelScope | None = None
    has_started: bool = False
    is_complete: bool = False
    is_gone: bool = False
    is_ended: bool = False

    def leave(self) -> None:
        """Note that the client went before its answer was complete."""
        self.is_gone = True
        if self.call is not None:
            self.call.cancel()

    def end(self) -> None:
        """Let the SDK end the answer: it is told that the client went, and cleans up."""
        self.is_ended = True
        if self.listening is not None:
            self.listening.cancel()


class Traffic:
    """What is in progress.

    Attributes:
        is_draining: No new exchange is let in.
    """

    def __init__(self, *, max_calls: int, cancel_when_gone: bool = True) -> None:
        """Start with none.

        Args:
            max_calls: Calls in progress at once; more are refused.
            cancel_when_gone: A client that goes cancels its call. Not so where clients may come
                back for the answer (resumable sessions).
        """
        self.is_draining = False
        self._max_calls = max_calls
        self._cancel_when_gone = cancel_when_gone
        self._calls: set[anyio.CancelScope] = set()
        self._listens: set[anyio.CancelScope] = set()
        self._exchanges: set[_Exchange] = set()
        self._changed = anyio.Event()

    def exchanges(self, app: ASGIApp) -> ASGIApp:
        """Give the app with each of its exchanges watched."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if self.is_draining:
                await refusal(503, "the server is stopping")(scope, receive, send)
                return
            exchange = _Exchange(is_stream=scope.get("method") == "GET")
            scope[_EXCHANGE_KEY] = exchange
            self._exchanges.add(exchange)
            try:
                await app(scope, _watch_in(exchange, receive), _watch_out(exchange, send))
                if exchange.has_started and not exchange.is_complete and not exchange.is_gone:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                self._exchanges.discard(exchange)
                self._changed.set()

        return watched

    async def call(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Run one call as MCP middleware, so that it can be counted and cancelled.

        Raises:
            MCPError: Too many calls are in progress, or this one was cancelled.
        """
        if ctx.request_id is None:
            return await call_next(ctx)
        if len(self._calls) + len(self._listens) >= self._max_calls:
            raise MCPError(INTERNAL_ERROR, "too many calls in progress; try again shortly")
        group = self._listens if ctx.method == _LISTEN else self._calls
        with anyio.CancelScope() as scope:
            group.add(scope)
            self._bind(scope, ctx.request)
            try:
                return await call_next(ctx)
            finally:
                group.discard(scope)
                self._changed.set()
        if group is self._listens:
            # The spec's ending of a stream that the server closes.
            return SubscriptionsListenResult(_meta={SUBSCRIPTION_ID_META_KEY: ctx.request_id})
        raise MCPError(CONNECTION_CLOSED, "cancelled: the client went or the server is stopping")

    async def drain(self, grace_seconds: float) -> None:
        """End everything: listen streams at once, calls after a grace, then what still streams."""
        self.is_draining = True
        for listen in list(self._listens):
            listen.cancel()
        with anyio.move_on_after(grace_seconds):
            while self._calls:
                await self._next_change()
        for call in list(self._calls):
            call.cancel()
        with anyio.move_on_after(_FLUSH_SECONDS):
            while self._calls or any(not each.is_stream for each in self._exchanges):
                await self._next_change()
            # The answers of legacy SSE take a few turns of the loop through the SDK's streams.
            for _ in range(_TURNS):
                await anyio.lowlevel.checkpoint()
        for exchange in list(self._exchanges):
            exchange.end()

    def _bind(self, call: anyio.CancelScope, request: object) -> None:
        if not self._cancel_when_gone or not isinstance(request, Request):
            return
        exchange: object = request.scope.get(_EXCHANGE_KEY)
        if isinstance(exchange, _Exchange) and not exchange.is_complete:
            exchange.call = call
            if exchange.is_gone:
                call.cancel()

    async def _next_change(self) -> None:
        self._changed = anyio.Event()
        await self._changed.wait()


def _watch_in(exchange: _Exchange, receive: Receive) -> Receive:
    async def watched() -> Message:
        with anyio.CancelScope() as exchange.listening:
            if exchange.is_ended:
                return {"type": "http.disconnect"}
            message = await receive()
            if message["type"] == "http.disconnect" and not exchange.is_complete:
                exchange.leave()
            return message
        return {"type": "http.disconnect"}

    return watched


def _watch_out(exchange: _Exchange, send: Send) -> Send:
    async def watched(message: Message) -> None:
        is_start = message["type"] == "http.response.start"
        if exchange.is_ended and (exchange.is_complete or (is_start and exchange.has_started)):
            return  # after an SSE stream the SDK sends a second, empty answer to the client it lost
        exchange.has_started = True
        if not is_start and not message.get("more_body", False):
            exchange.is_complete = True
        await send(message)

    return watched
