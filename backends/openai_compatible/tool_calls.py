"""Tools in the words of the chat completions API, and the calls that a model asks for."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from backends.errors import UnsupportedError
from backends.messages import GenerateRequest, JsonObject, RequestedCall
from backends.text import well_formed

_MOST_CALLS = 128
_LONGEST_NAME = 64
_REFUSED_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


class ToolNames:
    """Names as the API takes them: it knows no dots, as in `server.tool`, and 64 characters.

    Invariant (`tests/backends/openai_compatible/test_tools.py`): names that differ are sent as
    names that differ, and come back as they were.
    """

    def __init__(self, request: GenerateRequest) -> None:
        self._sent: dict[str, str] = {}
        self._meant: dict[str, str] = {}
        told = [call.name for message in request.messages for call in message.calls]
        for name in dict.fromkeys([*(tool.name for tool in request.tools), *told]):
            sent = self._free_name(name)
            self._sent[name], self._meant[sent] = sent, name

    def sent(self, name: str) -> str:
        """Give a name as it is sent."""
        return self._sent[name]

    def meant(self, sent: str) -> str:
        """Give the name that stands behind a sent one; one that was made up stays as it is."""
        return self._meant.get(sent, sent)

    def _free_name(self, name: str) -> str:
        plain = _REFUSED_IN_NAMES.sub("_", name)[:_LONGEST_NAME] or "_"
        free, count = plain, 1
        while free in self._meant:
            count += 1
            ending = f"_{count}"
            free = plain[: _LONGEST_NAME - len(ending)] + ending
        return free


def tool_fields(request: GenerateRequest, names: ToolNames) -> dict[str, object]:
    """Give the tools that may be asked for, and whether one must be.

    Raises:
        UnsupportedError: A tool's schema is no JSON.
    """
    if not request.tools:
        return {}
    tools = [
        {
            "type": "function",
            "function": {
                "name": names.sent(tool.name),
                "description": well_formed(tool.description),
                "parameters": tool.input_schema,
            },
        }
        for tool in request.tools
    ]
    try:
        json.dumps(tools, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise UnsupportedError(
            "a tool's input_schema cannot be sent: it holds text or numbers outside JSON,"
            " or nests too deep"
        ) from None
    return {"tools": tools, "tool_choice": request.tool_choice}


def told_calls(calls: Iterable[RequestedCall], names: ToolNames) -> list[dict[str, object]]:
    """Give calls of an earlier turn."""
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": names.sent(call.name), "arguments": json.dumps(call.arguments)},
        }
        for call in calls
    ]


@dataclass(slots=True)
class _Part:
    id: str = ""
    name: str = ""
    arguments: str = ""


class AskedCalls:
    """Collects the calls of an answer from the parts in which they arrive."""

    def __init__(self, names: ToolNames) -> None:
        self._names = names
        self._parts: dict[int, _Part] = {}

    def __bool__(self) -> bool:
        return bool(self._parts)

    def take(self, deltas: object) -> str:
        """Take parts in; gives the text that the model wrote for them.

        Raises:
            ValueError: There are more calls than an answer can hold.
        """
        if not isinstance(deltas, list):
            return ""
        written = ""
        for delta in cast("list[object]", deltas):
            written += self._take_one(_object(delta))
        return written

    def _take_one(self, delta: JsonObject) -> str:
        function = _object(delta.get("function"))
        name, given_id = _text(function.get("name")), _text(delta.get("id"))
        part = self._part(delta.get("index"), given_id, is_new=bool(name))
        part.id = part.id or given_id
        part.name = part.name or name
        arguments: object = function.get("arguments")
        # Some endpoints give the object itself instead of its text.
        written = json.dumps(arguments) if isinstance(arguments, Mapping) else _text(arguments)
        part.arguments += written
        return name + written

    def _part(self, index: object, given_id: str, *, is_new: bool) -> _Part:
        last = max(self._parts, default=-1)
        if not isinstance(index, int):  # some endpoints send whole calls, and no index
            index = last + 1 if is_new else max(last, 0)
        elif index in self._parts and given_id not in ("", self._parts[index].id):
            index = last + 1  # others number all of them 0
        if len(self._parts) >= _MOST_CALLS and index not in self._parts:
            raise ValueError(f"more than {_MOST_CALLS} calls")
        return self._parts.setdefault(index, _Part())

    def asked(self) -> tuple[RequestedCall, ...]:
        """Give the calls, in order.

        Raises:
            ValueError: One has no name, or arguments that are not a JSON object.
        """
        return tuple(
            self._call(number, part) for number, (_, part) in enumerate(sorted(self._parts.items()))
        )

    def _call(self, number: int, part: _Part) -> RequestedCall:
        try:
            arguments: object = json.loads(part.arguments or "{}", parse_constant=_no_number)
        except RecursionError:
            raise ValueError("arguments that nest too deep") from None
        if not part.name or not isinstance(arguments, dict):
            raise ValueError("no name, or no object")
        return RequestedCall(
            id=well_formed(part.id) or f"call_{number}",
            name=well_formed(self._names.meant(part.name)),
            arguments=cast("JsonObject", arguments),
        )


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _object(value: object) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
