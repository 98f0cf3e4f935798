"""What the official MCP conformance suite calls, so that it can judge the real server.

Opt-in (`aios-mcp serve --http HOST:PORT --conformance`): fixed answers beside the kernel's own
tools, on the same server, app and middlewares that agents meet. Not for production.
"""

from typing import Any

from mcp.server import MCPServer
from mcp.server.streamable_http import EventStore

from aios_mcp.server.conformance.dialogues import add_dialogues
from aios_mcp.server.conformance.events import RecentEvents
from aios_mcp.server.conformance.inputs import add_inputs
from aios_mcp.server.conformance.prompts import add_prompts
from aios_mcp.server.conformance.resources import add_resources
from aios_mcp.server.conformance.tools import add_tools


def add_fixtures(server: MCPServer[Any]) -> EventStore:
    """Register the fixtures; give the store that lets clients resume, which one scenario needs."""
    add_tools(server)
    add_resources(server)
    add_prompts(server)
    add_dialogues(server)
    add_inputs(server)
    return RecentEvents()


__all__ = ["add_fixtures"]
