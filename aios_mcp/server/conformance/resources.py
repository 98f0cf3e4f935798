"""Resources of each kind, and the subscriptions of clients before 2026-07-28."""

import json
from typing import Any

from mcp.server import MCPServer
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver.resources import BinaryResource, TextResource
from mcp_types import EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams

from aios_mcp.server.conformance.samples import PNG


def add_resources(server: MCPServer[Any]) -> None:
    """Register them."""
    server.add_resource(
        TextResource(
            uri="test://static-text",
            name="static-text",
            description="A line of text.",
            mime_type="text/plain",
            text="This is the content of the static text resource.",
        )
    )
    server.add_resource(
        BinaryResource(
            uri="test://static-binary",
            name="static-binary",
            description="A picture.",
            mime_type="image/png",
            data=PNG,
        )
    )
    server.add_resource(
        TextResource(
            uri="test://watched-resource",
            name="watched-resource",
            description="A text to subscribe to.",
            mime_type="text/plain",
            text="It never changes.",
        )
    )
    server.resource(
        "test://template/{id}/data",
        name="template",
        description="Says its id.",
        mime_type="application/json",
    )(_template)
    # resources/subscribe has no decorator, as the newest revision has no such method.
    low_level = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]
    low_level.add_request_handler("resources/subscribe", SubscribeRequestParams, _accept)
    low_level.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, _accept)


async def _template(id: str) -> str:  # noqa: A002 - the suite's name for it
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


async def _accept(
    ctx: ServerRequestContext[Any, Any],
    params: SubscribeRequestParams | UnsubscribeRequestParams,
) -> EmptyResult:
    del ctx, params  # nothing here ever changes, so nobody needs to be remembered
    return EmptyResult()
