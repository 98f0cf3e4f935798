"""Lines of JSON-RPC as stdio carries them: bounded, and answered when they make no sense.

The SDK drops a line it cannot read, and its sender waits for ever.
"""

import json
from collections.abc import Iterator
from typing import Any, cast

from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 200
"""Of nested lists and objects; the JSON parser's own bound."""


class Lines:
    """Cuts a stream into lines; holds at most one line, in linear time."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()
        self._too_long = False

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """Give the lines that end in this chunk; None stands for one that was too long."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._hold(end)
            yield self._take()
        self._hold(rest)

    def end(self) -> bytes | None:
        """Give what the stream ended with, as a line; empty if it ended with a line's end."""
        return self._take()

    def _hold(self, part: bytes) -> None:
        if len(self._held) + len(part) > self._max_bytes:
            self._too_long = True
        if self._too_long:
            self._held.clear()
        else:
            self._held += part

    def _take(self) -> bytes | None:
        line = None if self._too_long else bytes(self._held)
        self._held.clear()
        self._too_long = False
        return line


class RefusedLineError(Exception):
    """A line is no JSON-RPC message.

    Attributes:
        answer: What to answer.
    """

    def __init__(self, code: int, reason: str, request_id: RequestId | None = None) -> None:
        super().__init__(reason)
        self.answer = JSONRPCError(
            jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=reason)
        )


def read_message(line: bytes | None) -> JSONRPCMessage:
    """Read a line; None is one that was too long.

    Raises:
        RefusedLineError: It is no message.
    """
    if line is None:
        raise RefusedLineError(INVALID_REQUEST, f"a message has at most {MAX_LINE_BYTES} bytes")
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        return _second_look(line)
    if isinstance(message, JSONRPCNotification) and b'"id"' in line:
        # A request whose id the SDK does not take reads as a notification, and is never answered.
        return _second_look(line)
    return message


def write_message(message: JSONRPCMessage) -> bytes:
    """Write a message as one line, whatever strings it holds."""
    try:
        text = message.model_dump_json(by_alias=True, exclude_unset=True)
        return text.encode() + b"\n"
    except ValueError:  # a lone surrogate, which UTF-8 cannot encode
        whole = message.model_dump(by_alias=True, exclude_unset=True)
        text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace") + b"\n"


def _second_look(line: bytes) -> JSONRPCMessage:
    """Read what the fast parser refused: find out why, or take what only it refuses."""
    try:
        value: object = json.loads(line)
    except RecursionError:
        raise RefusedLineError(INVALID_REQUEST, _TOO_DEEP) from None
    except ValueError:  # not JSON, or not UTF-8
        raise RefusedLineError(PARSE_ERROR, "the line is not JSON") from None
    if isinstance(value, list):
        raise RefusedLineError(INVALID_REQUEST, "batches are not served; send one message a line")
    if not isinstance(value, dict):
        raise RefusedLineError(INVALID_REQUEST, "a message is a JSON object")
    whole = cast("dict[str, Any]", value)
    request_id = _id_of(whole)
    if "method" in whole and "id" in whole and request_id is None:
        raise RefusedLineError(INVALID_REQUEST, "the id must be a string or an integer")
    if _is_too_deep(whole):
        raise RefusedLineError(INVALID_REQUEST, _TOO_DEEP, request_id)
    if isinstance(whole.get("params"), list):
        raise RefusedLineError(INVALID_REQUEST, "params must be an object", request_id)
    try:
        return jsonrpc_message_adapter.validate_python(whole, by_name=False)
    except ValidationError:
        reason = "not a JSON-RPC 2.0 request, notification or response"
        raise RefusedLineError(INVALID_REQUEST, reason, request_id) from None


_TOO_DEEP = f"a message nests at most {MAX_DEPTH} levels"


def _id_of(whole: dict[str, Any]) -> RequestId | None:
    request_id: object = whole.get("id")
    if isinstance(request_id, int | str) and not isinstance(request_id, bool):
        return request_id
    return None


def _is_too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for each in level for child in _children(each)]
        if not level:
            return False
    return True


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return cast("list[object]", value) if isinstance(value, list) else []
