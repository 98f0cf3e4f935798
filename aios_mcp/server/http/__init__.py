"""The HTTP front: Streamable HTTP of both eras, legacy SSE and health checks in one app."""

from aios_mcp.server.http.app import build_app
from aios_mcp.server.http.errors import AddressError, HttpStartError, OpenToAllError
from aios_mcp.server.http.serve import serve_http

__all__ = ["AddressError", "HttpStartError", "OpenToAllError", "build_app", "serve_http"]
