"""Answers that are given before a request reaches the MCP part."""

import json
from collections.abc import Mapping

from mcp_types import INVALID_REQUEST
from starlette.responses import Response


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Give an HTTP error whose body is a JSON-RPC error, which is what MCP clients read."""
    body = {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": INVALID_REQUEST, "message": message},
    }
    return Response(json.dumps(body), status, headers, media_type="application/json")
