"""How failures look on the wire: tool errors the model can act on, and JSON-RPC errors."""

import logging
from dataclasses import asdict
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, CallToolResult, TextContent

from aios_mcp.errors import Failure, failure_of, request_of
from aios_mcp.server.wire import bug_text

_SHOWN_CHARACTERS = 200

logger = logging.getLogger(__name__)


def error_result(exc: Exception) -> CallToolResult:
    """Give the tool error of a failed call; the text of a bug stays in the log."""
    failure = failure_of(exc) or _bug("tool call failed", exc)
    return CallToolResult(
        content=[TextContent(type="text", text=_line(failure))],
        structured_content={"error": _as_json(failure)},
        is_error=True,
    )


def protocol_error(exc: Exception, *, uri: str | None = None) -> MCPError:
    """Give the JSON-RPC error of a failed resource or prompt, which know no tool errors.

    What is not there and what the agent may not see read the same.
    """
    data: dict[str, Any] = {} if uri is None else {"uri": uri}
    failure = failure_of(exc) or _bug("request failed", exc)
    if uri is not None and failure.code in {"not_found", "not_permitted"}:
        return unknown("resource", uri, uri=uri)
    code = INVALID_PARAMS if failure.code == "invalid_argument" else INTERNAL_ERROR
    return MCPError(code, _line(failure), data | {"error": _as_json(failure)})


def unknown(kind: str, name: str, **data: object) -> MCPError:
    """Give the error for a tool, prompt, resource or cursor that is not there."""
    return misuse(f"unknown {kind} {name[:_SHOWN_CHARACTERS]!r}", **data)


def misuse(message: str, **data: object) -> MCPError:
    """Give the error for a request that no server could answer."""
    return MCPError(INVALID_PARAMS, message, data or None)


def _bug(event: str, exc: Exception) -> Failure:
    message = bug_text(logger, event, exc)
    return Failure(code="internal", message=message, request_id=request_of(exc))


def _line(failure: Failure) -> str:
    after = failure.retry_after_seconds
    hint = "" if after is None else f" (try again in {after:.3g} s)"
    return f"{failure.code}: {failure.message}{hint}"


def _as_json(failure: Failure) -> dict[str, Any]:
    error: dict[str, Any] = {
        "code": failure.code,
        "message": failure.message,
        "retryable": failure.retryable,
    }
    if failure.request_id is not None:
        error["request_id"] = failure.request_id
    if failure.retry_after_seconds is not None:
        error["retry_after_s"] = round(failure.retry_after_seconds, 3)
    if failure.usage is not None:
        error["usage"] = asdict(failure.usage)
    return error
