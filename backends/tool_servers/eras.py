"""The two eras of the protocol, and which of them a server speaks.

Up to 2025-11-25 a connection begins with `initialize`. Since 2026-07-28 there is no such
handshake: each request says who asks and in which version, and `server/discover` describes the
server.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias, cast

import anyio
from mcp_types.version import (
    HANDSHAKE_PROTOCOL_VERSIONS,
    LATEST_MODERN_VERSION,
    MODERN_PROTOCOL_VERSIONS,
)

from backends.messages import JsonObject
from backends.tool_servers.jsonrpc import RpcError, as_object
from backends.tool_servers.link import LinkClosedError

_META = "io.modelcontextprotocol/"

Ask: TypeAlias = Callable[[str, JsonObject], Awaitable[JsonObject]]
"""Sends a request by method and parameters; gives the result or raises `RpcError`."""


@dataclass(frozen=True, slots=True)
class Era:
    """The version that was agreed on with a server."""

    version: str

    @property
    def is_modern(self) -> bool:
        """There was no handshake, and each request describes itself."""
        return self.version in MODERN_PROTOCOL_VERSIONS

    def meta(self) -> JsonObject:
        """Give what each request of this era says of its sender."""
        if not self.is_modern:
            return {}
        return {
            _META + "protocolVersion": self.version,
            _META + "clientCapabilities": {},
            _META + "clientInfo": client_info(),
        }


MODERN = Era(LATEST_MODERN_VERSION)
LEGACY = Era(HANDSHAKE_PROTOCOL_VERSIONS[-1])


@dataclass(frozen=True, slots=True)
class Agreement:
    """What negotiation found out: the era, and whether the tool list announces its changes."""

    era: Era
    announces_changes: bool


async def negotiate(ask: Ask, known: Era | None, *, probe_seconds: float) -> Agreement:
    """Find out what a server speaks: first what is known of it, else the modern era.

    A server that keeps silent when it is probed is given a handshake; one that refuses the
    handshake, because it was only slow to start, is probed again.

    Raises:
        LinkClosedError: No common version.
        RpcError: It refuses both.
    """
    if known is None or known.is_modern:
        with anyio.move_on_after(probe_seconds):
            try:
                return await _discover(ask)
            except RpcError:
                # Not one code in particular: servers of the older era refuse in many ways.
                pass
    try:
        return await _initialize(ask)
    except RpcError as refusal:
        try:
            return await _discover(ask)
        except RpcError:
            raise refusal from None


def client_info() -> JsonObject:
    """Give the name that servers know us by."""
    try:
        return {"name": "aios-mcp", "version": version("aios-mcp")}
    except PackageNotFoundError:
        return {"name": "aios-mcp", "version": "0"}


async def _discover(ask: Ask) -> Agreement:
    result = await ask("server/discover", {})
    offered = result.get("supportedVersions")
    common = [each for each in MODERN_PROTOCOL_VERSIONS if each in _strings(offered)]
    if not common:
        raise RpcError(0, "it offers no modern version")
    return Agreement(Era(common[-1]), _announces(result))


async def _initialize(ask: Ask) -> Agreement:
    result = await ask(
        "initialize",
        {"protocolVersion": LEGACY.version, "capabilities": {}, "clientInfo": client_info()},
    )
    offered = result.get("protocolVersion")
    if offered not in HANDSHAKE_PROTOCOL_VERSIONS:
        raise LinkClosedError("speaks no protocol version that is known here")
    return Agreement(Era(str(offered)), _announces(result))


def _announces(result: JsonObject) -> bool:
    tools = as_object(as_object(result.get("capabilities")).get("tools"))
    return tools.get("listChanged") is True


def _strings(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
