"""What every message passes on its way in and out, whatever the transport.

No lone surrogate and no infinite number gets through (one of them in an answer ends a stdio
connection), and no text of a bug: a legacy client would be sent the exception as it stands.
"""

import logging
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS
from pydantic import ValidationError

from backends.text import well_formed

logger = logging.getLogger(__name__)


async def guard(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Clean a message and its answer; turn a bug into a generic error with an id."""
    try:
        if ctx.params is not None:
            params = cast("Mapping[str, Any]", _walk(dict(ctx.params), _refused))
            ctx = replace(ctx, params=params)
        return cast("HandlerResult", _walk(await call_next(ctx), _null))
    except MCPError as exc:
        error = exc.error
        raise MCPError(error.code, well_formed(error.message), clean(error.data)) from exc
    except ValidationError:
        raise  # the SDK answers it without its text
    except Exception as exc:
        raise MCPError(INTERNAL_ERROR, bug_text(logger, "request failed", exc)) from exc


def clean(value: object) -> object:
    """Give a JSON value that can be encoded: no lone surrogates, no infinite numbers."""
    return _walk(value, _null)


def bug_text(log: logging.Logger, event: str, bug: Exception) -> str:
    """Log a bug with its traceback, and give a text that names it by an id only."""
    bug_id = secrets.token_hex(4)
    log.error(event, extra={"bug_id": bug_id}, exc_info=bug)
    return f"internal error {bug_id}; the server's log has the details"


def _walk(value: object, infinite: Callable[[], object]) -> object:
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return {_walk(key, infinite): _walk(each, infinite) for key, each in items}
    if isinstance(value, list):
        return [_walk(each, infinite) for each in cast("list[object]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return infinite()
    return value


def _null() -> object:
    return None


def _refused() -> object:
    raise MCPError(INVALID_PARAMS, "a number of the request is out of range")
