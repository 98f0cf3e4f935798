"""JSON-RPC messages as they come from a server that may be broken or hostile."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeAlias, cast

from backends.messages import JsonObject
from backends.tool_servers.lines import Line

METHOD_NOT_FOUND = -32601

_MAX_DEPTH = 128
_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_METHOD_AT_HEAD = re.compile(rb'^[^{]*\{[^{}]{0,80}"method"\s*:')
_ID_AT_HEAD = re.compile(rb'^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15})\s*,')
_ID_AT_END = re.compile(rb'"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)

MessageId: TypeAlias = int | str | None


class GarbageError(Exception):
    """What came is not a JSON-RPC message."""


class RpcError(Exception):
    """The server answered a request with an error; the text is the server's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message from a server. One without a method answers the request `id`.

    Attributes:
        result: The answer, or None in an error and where the answer was too large to keep.
        size_bytes: Length of the message as it came.
    """

    id: MessageId = None
    method: str | None = None
    params: JsonObject
    result: JsonObject | None = None
    error: RpcError | None = None
    size_bytes: int


def encode(message: JsonObject) -> bytes:
    """Give a message as one line of JSON, without its end."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def read_messages(line: Line) -> tuple[Message, ...]:
    """Read the message of a line, or several where the line is a batch.

    Raises:
        GarbageError: It is not a message.
    """
    if line.is_cut:
        return () if _METHOD_AT_HEAD.search(line.content) else (_unread(line, None),)
    try:
        value = read_json(line.content)
    except GarbageError:
        unread = _unread(line, RpcError(0, "the tool server sent an answer that cannot be read"))
        if unread.id is None:
            raise
        return (unread,)
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    return tuple(_message(each, line.size_bytes) for each in values)


def read_json(content: bytes) -> object:
    """Read JSON whose strings can be encoded again and whose nesting is bounded.

    Raises:
        GarbageError: It is not such JSON.
    """
    try:
        value: object = _DECODER.decode(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise GarbageError("not JSON") from error
    # Almost no message has either, so almost none is walked.
    if content.count(b"[") + content.count(b"{") > _MAX_DEPTH or _SURROGATE_ESCAPE.search(content):
        return _cleaned(value, _MAX_DEPTH)
    return value


def as_object(value: object) -> JsonObject:
    """Give a JSON object as it is, and anything else as an empty one."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def as_text(value: object) -> str | None:
    """Give a string as it is, and anything else as None."""
    return value if isinstance(value, str) else None


def _cleaned(value: object, depth: int) -> object:
    if depth < 0:
        raise GarbageError("nested too deep")
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        pairs = cast("Mapping[str, object]", value).items()
        return {_SURROGATE.sub("\ufffd", key): _cleaned(each, depth - 1) for key, each in pairs}
    if isinstance(value, list):
        return [_cleaned(each, depth - 1) for each in cast("list[object]", value)]
    return value


def _message(value: object, size_bytes: int) -> Message:
    if not isinstance(value, dict):
        raise GarbageError("not an object")
    body = cast("JsonObject", value)
    method, id_, error = body.get("method"), body.get("id"), body.get("error")
    if not isinstance(id_, int | str | None) or isinstance(id_, bool):
        raise GarbageError("the id is neither a number nor a string")
    if isinstance(method, str):
        params = as_object(body.get("params"))
        return Message(id=id_, method=method, params=params, size_bytes=size_bytes)
    if error is not None:
        return Message(id=id_, params={}, error=_error(as_object(error)), size_bytes=size_bytes)
    if not isinstance(body.get("result"), dict):
        raise GarbageError("neither a request nor an answer")
    return Message(id=id_, params={}, result=as_object(body["result"]), size_bytes=size_bytes)


def _error(error: JsonObject) -> RpcError:
    code = error.get("code")
    text = as_text(error.get("message")) or "no reason given"
    return RpcError(code if isinstance(code, int) else 0, text[:2000])


def _unread(line: Line, error: RpcError | None) -> Message:
    """Stand in for an answer that was not read, if it can be told whose it is."""
    found = _ID_AT_HEAD.search(line.content) or _ID_AT_END.search(line.content)
    id_ = int(found[1]) if found else None
    return Message(id=id_, params={}, error=error, size_bytes=line.size_bytes)
