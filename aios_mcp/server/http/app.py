"""One ASGI app: `/mcp`, `/sse` with `/messages/`, `/healthz` and `/readyz`.

OriginGuard > CORS > health | Traffic > Credentials > BodyLimits > the SDK's transports
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.streamable_http import EventStore
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Router

from aios_mcp.config.model import HttpPart
from aios_mcp.kernel import Agents
from aios_mcp.server.http.bodies import BodyLimits
from aios_mcp.server.http.credentials import Credentials
from aios_mcp.server.http.health import Health, IsReady
from aios_mcp.server.http.origins import OriginGuard
from aios_mcp.server.http.traffic import Traffic

_RETRY_MS = 100


def build_app(
    server: MCPServer[Any],
    agents: Agents,
    *,
    http: HttpPart,
    default_agent: str,
    is_ready: IsReady,
    traffic: Traffic | None = None,
    events: EventStore | None = None,
) -> Starlette:
    """Give the app. Its lifespan runs the legacy sessions; the kernel's life is the caller's.

    Args:
        server: What is served; it gets one more middleware.
        agents: Whose credentials are known.
        http: The configuration's `[http]`.
        default_agent: Whom requests speak for while no agent has a secret.
        is_ready: What `/readyz` asks.
        traffic: Watches what is in progress; None makes one.
        events: Makes legacy sessions resumable.
    """
    traffic = traffic or Traffic(max_calls=http.max_connections, cancel_when_gone=events is None)
    server.middleware.append(traffic.call)
    transports = Router(_transports(server, http, events), redirect_slashes=False)
    limited = BodyLimits(transports, max_bytes=http.max_body_bytes, seconds=http.body_seconds)
    # AuthContextMiddleware tells the SDK to whom a requestState belongs.
    guarded = Credentials(
        AuthContextMiddleware(limited), agents=agents, default_agent=default_agent
    )
    health = Health(is_ready, lambda: traffic.is_draining)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with server.session_manager.run():
            yield

    return Starlette(
        routes=[*health.routes(), Mount("/", traffic.exchanges(guarded))],
        middleware=[
            Middleware(OriginGuard, hosts=http.allowed_hosts, origins=http.allowed_origins),
            # Which origins are allowed was decided one line above.
            Middleware(
                CORSMiddleware,
                allow_origin_regex=".*",
                allow_methods=("GET", "POST", "DELETE"),
                allow_headers=("*",),
                expose_headers=("Mcp-Session-Id", "WWW-Authenticate"),
            ),
        ],
        lifespan=lifespan,
    )


def _transports(server: MCPServer[Any], http: HttpPart, events: EventStore | None) -> list[Any]:
    # OriginGuard is stricter, and stands before all routes.
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    # Never json_response: it would not cancel a call whose client has gone.
    app = server.streamable_http_app(
        transport_security=unchecked,
        max_request_body_size=http.max_body_bytes,
        max_sessions=http.max_connections,
        event_store=events,
        retry_interval=None if events is None else _RETRY_MS,
    )
    if not http.sse:
        return app.routes
    sse = server.sse_app(transport_security=unchecked, max_request_body_size=http.max_body_bytes)
    return [*app.routes, *sse.routes]
