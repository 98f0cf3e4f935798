"""Serves the app with uvicorn until a signal or cancellation, then stops within a grace."""

import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.streamable_http import EventStore

from aios_mcp.config.model import HttpPart
from aios_mcp.kernel import Agents
from aios_mcp.server.http.app import build_app
from aios_mcp.server.http.connections import HEAD_BYTES, Bounds, Parser, bounded_protocol
from aios_mcp.server.http.errors import AddressError, OpenToAllError
from aios_mcp.server.http.health import IsReady
from aios_mcp.server.http.traffic import Traffic

_BACKLOG = 512
_CLOSE_SECONDS = 0.4


async def serve_http(
    server: MCPServer[Any],
    agents: Agents,
    *,
    host: str,
    port: int,
    http: HttpPart,
    default_agent: str,
    is_ready: IsReady,
    on_listening: Callable[[str], None],
    grace_seconds: float = 1.5,
    parser: Parser = "httptools",
    events: EventStore | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or cancellation. Needs asyncio and the main thread.

    The first signal drains: no new calls, those in progress may end within the grace. A second
    one ends them at once.

    Args:
        server: What is served.
        agents: Whose credentials are known.
        host: Name or address to listen on.
        port: 0 takes a free one.
        http: The configuration's `[http]`.
        default_agent: Whom requests speak for while no agent has a secret.
        is_ready: What `/readyz` asks.
        on_listening: Told the base URL once connections are taken.
        grace_seconds: How long calls in progress may take to end.
        parser: Which HTTP parser reads requests.
        events: Makes legacy sessions resumable.

    Raises:
        AddressError: The address cannot be listened on.
        OpenToAllError: Others could call without a credential.
    """
    if not (_is_loopback(host) or agents.has_credentials or http.allow_unauthenticated):
        raise OpenToAllError(host)
    traffic = Traffic(max_calls=http.max_connections, cancel_when_gone=events is None)
    app = build_app(
        server,
        agents,
        http=http,
        default_agent=default_agent,
        is_ready=is_ready,
        traffic=traffic,
        events=events,
    )
    with _listen(host, port) as listener:
        web = _Web(
            uvicorn.Config(
                app,
                http=bounded_protocol(parser, Bounds(max_connections=http.max_connections)),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=HEAD_BYTES,
                timeout_graceful_shutdown=1,
            ),
            lambda: on_listening(_url(host, listener)),
        )
        await _run(web, listener, traffic, grace_seconds)


class _Web(uvicorn.Server):
    """uvicorn without its signals, and with an end that cannot be held up."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started
        self.finished = anyio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().serve(sockets)
        finally:
            self.finished.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    def cut(self) -> None:
        """Close every connection at once."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


async def _run(web: _Web, listener: socket.socket, traffic: Traffic, grace_seconds: float) -> None:
    stop = anyio.Event()

    async def serve() -> None:
        # Ended by `should_exit` alone, so that a cancelled caller drains too.
        with anyio.CancelScope(shield=True):
            await web.serve([listener])
        stop.set()

    async def watch_signals() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                if stop.is_set():
                    web.cut()  # a call whose client has gone is cancelled, which ends the grace
                stop.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals)
        tasks.start_soon(serve)
        try:
            await stop.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await traffic.drain(grace_seconds)
                web.should_exit = True
                with anyio.move_on_after(_CLOSE_SECONDS):
                    await web.finished.wait()
                web.cut()
                await web.finished.wait()
            tasks.cancel_scope.cancel()


@contextmanager
def _listen(host: str, port: int) -> Generator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    with listener:
        if os.name == "posix":
            # A port that a stopped server left in TIME_WAIT can be taken again at once.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as exc:
            raise AddressError(host, port, exc.strerror or str(exc)) from exc
        yield listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _url(host: str, listener: socket.socket) -> str:
    port: int = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
