"""Supervised connections to downstream MCP servers, by stdio, Streamable HTTP or legacy SSE."""

from backends.tool_servers.server import McpToolServer, open_tool_server
from backends.tool_servers.settings import HttpServer, StdioServer

__all__ = ["HttpServer", "McpToolServer", "StdioServer", "open_tool_server"]
