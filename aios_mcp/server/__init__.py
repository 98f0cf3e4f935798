"""The kernel's surface: it speaks MCP, and is the only part that does."""

from aios_mcp.server.server import AiosServer, Surface, build_server
from aios_mcp.server.stdio import serve_stdio

__all__ = ["AiosServer", "Surface", "build_server", "serve_stdio"]
