"""Strict Host and Origin checks on every route: no page of another site can reach the kernel.

The Host check stops DNS rebinding (a foreign name that resolves to this machine), the Origin check
stops pages that call a known address. Both parse the whole header: a prefix match would let
`127.0.0.1:evil.example` and `http://localhost:1@evil.example` through.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from aios_mcp.server.http.answers import refusal

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_AUTHORITY = r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?"
_HOST = re.compile(_AUTHORITY)
_ORIGIN = re.compile(rf"(?P<scheme>https?)://{_AUTHORITY}")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Authority(NamedTuple):
    name: str
    port: int | None


class _Origin(NamedTuple):
    scheme: str
    name: str
    port: int


class OriginGuard:
    """ASGI: lets requests through whose Host and Origin are loopback ones or configured.

    A Host that is the very address the connection arrived at is let through as well: rebinding
    needs a name.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str] = (), origins: Collection[str] = ()
    ) -> None:
        """Take what the configuration allows.

        Args:
            app: What is guarded.
            hosts: `host` (any port) or `host:port`.
            origins: `scheme://host[:port]`.
        """
        self._app = app
        self._hosts = {_authority(text) for text in hosts}
        self._origins = {_origin(text) for text in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._host_is_allowed(headers.getlist("host"), scope):
            answer = refusal(421, "Host not allowed; http.allowed_hosts lists those that are")
        elif not self._origin_is_allowed(headers.getlist("origin")):
            answer = refusal(403, "Origin not allowed; http.allowed_origins lists those that are")
        else:
            await self._app(scope, receive, send)
            return
        await answer(scope, receive, send)

    def _host_is_allowed(self, values: list[str], scope: Scope) -> bool:
        host = _authority(values[0]) if len(values) == 1 else None
        if host is None:
            return False
        return (
            host.name in LOOPBACK
            or (host.name, host.port or _DEFAULT_PORTS["http"]) == scope.get("server")
            or host in self._hosts
            or _Authority(host.name, None) in self._hosts
        )

    def _origin_is_allowed(self, values: list[str]) -> bool:
        if not values:
            return True
        origin = _origin(values[0]) if len(values) == 1 else None
        return origin is not None and (origin.name in LOOPBACK or origin in self._origins)


def _authority(text: str) -> _Authority | None:
    found = _HOST.fullmatch(text.lower())
    if found is None:
        return None
    port = found["port"]
    return _Authority(found["v6"] or found["name"], None if port is None else int(port))


def _origin(text: str) -> _Origin | None:
    found = _ORIGIN.fullmatch(text.lower())
    if found is None:
        return None
    scheme = found["scheme"]
    port = int(found["port"] or _DEFAULT_PORTS[scheme])
    return _Origin(scheme, found["v6"] or found["name"], port)
