"""uvicorn's HTTP protocols with the bounds they lack: connections, and the time and size of heads.

Without them a client that sends its headers one byte at a time holds a connection for ever.
"""

import asyncio  # noqa: TID251 - uvicorn's protocols are asyncio's
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, cast

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.h11_impl import RequestResponseCycle as H11Cycle
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle as HttpToolsCycle
from uvicorn.server import ServerState

Parser = Literal["httptools", "h11"]

HEAD_BYTES = 64 * 1024
"""Most bytes of a request's head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one connection may do.

    Attributes:
        max_connections: Connections open at once.
        head_seconds: Longest time a request's head may take, and a connection may stay silent
            before its first one.
    """

    max_connections: int
    head_seconds: float = 10.0


class _HeadTimer:
    """Closes a connection that owes us a request's head for too long."""

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def update(self, *, is_owed: bool) -> None:
        """Start the clock when a head becomes owed; bytes that drip in do not restart it."""
        if is_owed and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._seconds, self._expire)
        elif not is_owed and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        close_with(self._transport, HTTPStatus.REQUEST_TIMEOUT)


def close_with(transport: asyncio.Transport, status: HTTPStatus) -> None:
    """Answer a connection outside of any request and close it."""
    if transport.is_closing():
        return
    transport.write(
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "content-length: 0\r\nconnection: close\r\n\r\n".encode()
    )
    transport.close()


def bounded_protocol(parser: Parser, bounds: Bounds) -> type[asyncio.Protocol]:
    """Give the protocol class for uvicorn's `http` setting."""
    kind = _HttpTools if parser == "httptools" else _H11
    return cast("type[asyncio.Protocol]", type(kind.__name__, (kind,), {"bounds": bounds}))


class _Bounded(asyncio.Protocol):
    """What both parsers' protocols do at the ends of a connection."""

    bounds: Bounds
    server_state: ServerState
    _head_timer: _HeadTimer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        among = len(self.server_state.connections)
        self._head_timer = _meet(transport, self.bounds, among=among)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer.update(is_owed=False)
        super().connection_lost(exc)


class _HttpTools(_Bounded, HttpToolsProtocol):
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._head_timer.update(is_owed=_owes_a_head(self))
        # llhttp itself sets no limit.
        self._head_bytes = self._head_bytes + len(data) if self._is_in_head() else 0
        if self._head_bytes > HEAD_BYTES:
            close_with(self.transport, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers would join the headers of a request that has been let in already.
        if self._is_in_head():
            # llhttp keeps whitespace after a value, which RFC 9110 (5.5) takes off.
            super().on_header(name, value.strip(b" \t"))

    def _is_in_head(self) -> bool:
        # Until a head is complete, `cycle` is that of the last one.
        cycle = _cycle(self)
        return cycle is None or cycle.scope is not self.scope


class _H11(_Bounded, H11Protocol):
    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._head_timer.update(is_owed=_owes_a_head(self))


def _meet(transport: asyncio.Transport, bounds: Bounds, *, among: int) -> _HeadTimer:
    """Turn a new connection away if there are too many, else wait for its first head."""
    timer = _HeadTimer(transport, bounds.head_seconds)
    if among > bounds.max_connections:
        close_with(transport, HTTPStatus.SERVICE_UNAVAILABLE)
    else:
        timer.update(is_owed=True)
    return timer


def _cycle(
    protocol: HttpToolsProtocol | H11Protocol,
) -> HttpToolsCycle | H11Cycle | None:
    return protocol.cycle  # None before the first request, whatever its annotation says


def _owes_a_head(protocol: HttpToolsProtocol | H11Protocol) -> bool:
    # Between requests uvicorn's own keep-alive timer counts, until the first byte stops it.
    cycle = _cycle(protocol)
    is_idle = cycle is None or cycle.response_complete
    return is_idle and protocol.timeout_keep_alive_task is None
