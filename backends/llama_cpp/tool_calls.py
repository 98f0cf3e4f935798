"""Tool calls as models write them, each kind in the way its chat template shows.

Three ways are known: `<tool_call>{json}</tool_call>` (Hermes, Qwen), `[TOOL_CALLS][{json}]`
(Mistral) and an answer that is nothing but `{json}` (Llama 3).
"""

import json
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from backends.llama_cpp.text_stream import possible_beginning
from backends.messages import JsonObject, RequestedCall

_DECODER = json.JSONDecoder()
_NAMED = re.compile(r"([\w.-]+)(?:\[ARGS\])?\s*(?=\{)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFormat:
    """One way of writing calls.

    Attributes:
        opening: What stands before a call, or "" where the answer begins with the call itself.
        closing: What may stand behind one.
        arguments: The key of a call's arguments.
        is_list: All calls stand in one list.
        control: Texts of control tokens that are part of it.
    """

    name: Literal["hermes", "mistral", "llama3"]
    opening: str
    closing: str
    arguments: Literal["arguments", "parameters"]
    is_list: bool
    control: tuple[str, ...]


_HERMES = CallFormat(
    name="hermes",
    opening="<tool_call>",
    closing="</tool_call>",
    arguments="arguments",
    is_list=False,
    control=("<tool_call>", "</tool_call>"),
)
_MISTRAL = CallFormat(
    name="mistral",
    opening="[TOOL_CALLS]",
    closing="",
    arguments="arguments",
    is_list=True,
    control=("[TOOL_CALLS]", "[ARGS]"),
)
_LLAMA3 = CallFormat(
    name="llama3",
    opening="",
    closing=";",
    arguments="parameters",
    is_list=False,
    control=("<|python_tag|>",),
)


def call_format(template: str) -> CallFormat | None:
    """The way of a chat template, or None if it defines no calls that are known here."""
    if not re.search(r"\btools\b", template):
        return None
    # Beside JSON some models write calls in tags of their own, one for each argument.
    if "<tool_call>" in template and "<function=" not in template:
        return _HERMES
    if "[TOOL_CALLS]" in template:
        return _MISTRAL
    if re.search(r'"parameters"\s*:', template) and "<tool_call>" not in template:
        return _LLAMA3
    return None


def calls_schema(form: CallFormat, tools: Sequence[JsonObject]) -> JsonObject:
    """JSON Schema of one call of any of the tools, or of a list of calls."""

    def call(tool: JsonObject) -> JsonObject:
        function = cast("JsonObject", tool["function"])
        return {
            "type": "object",
            "properties": {
                "name": {"const": function["name"]},
                form.arguments: function["parameters"],
            },
            "required": ["name", form.arguments],
            "additionalProperties": False,
        }

    one = {"anyOf": [call(tool) for tool in tools]}
    return {"type": "array", "items": one, "minItems": 1, "maxItems": 1} if form.is_list else one


class CallsRead(NamedTuple):
    """What an answer ended with: calls, or text that only looked like some."""

    text: str
    calls: tuple[RequestedCall, ...]


class CallReader:
    """Takes an answer's text apart into what is said and what is called, as it comes.

    Text that may be the beginning of a call is held back until it is certain. What turns out to
    be no call of a known tool is said as it stands.
    """

    def __init__(self, form: CallFormat, tools: Collection[str], *, has_begun: bool) -> None:
        """Read an answer; `has_begun` if the prompt ends with the opening of a call."""
        self._form = form
        self._tools = tools
        self._is_calling = has_begun
        self._is_said = False
        self._held = ""

    def push(self, text: str) -> str:
        """Take text; give what is certain to be said."""
        self._held += text
        if self._is_calling:
            return ""
        at = self._find_call()
        said, self._held = self._held[:at], self._held[at:]
        return said

    def finish(self) -> CallsRead:
        """Take the end of the answer; give the calls, or the rest of what is said."""
        read = self._read_calls() if self._is_calling else None
        return read or CallsRead(self._held, ())

    def _find_call(self) -> int:
        """Where the call begins that has begun or may have; the end of the text if none."""
        opening = self._form.opening
        if opening:
            at = self._held.find(opening)
            self._is_calling = at >= 0
            return at if at >= 0 else len(self._held) - possible_beginning(self._held, (opening,))
        start = self._held.lstrip()
        tag = self._form.control[0]
        self._is_calling = not self._is_said and start.startswith(("{", tag))
        may_begin = self._is_calling or (not self._is_said and tag.startswith(start))
        self._is_said = not may_begin
        return 0 if may_begin else len(self._held)

    def _read_calls(self) -> CallsRead | None:
        """Give the calls and what is said behind them; None if one is cut off or is no call."""
        calls: list[RequestedCall] = []
        marks = [mark for mark in (*self._form.control, self._form.closing) if mark]
        rest = self._held
        while text := _without(rest, marks):
            try:
                found, after = _cut_value(text, self._form.arguments)
            except (ValueError, RecursionError):
                # Some models go on talking. What begins like a call and is none was cut off.
                is_talk = calls and text[0] not in "{[" and self._form.control[0] not in rest
                return CallsRead(rest, tuple(calls)) if is_talk else None
            for value in cast("list[object]", found) if isinstance(found, list) else [found]:
                call = self._call(value)
                if call is None:
                    return None
                calls.append(call)
            rest = after.lstrip().removeprefix(self._form.closing)
        return CallsRead("", tuple(calls)) if calls else None

    def _call(self, value: object) -> RequestedCall | None:
        if not isinstance(value, Mapping):
            return None
        written = cast("JsonObject", value)
        name, arguments = written.get("name"), written.get(self._form.arguments, {})
        if not isinstance(name, str) or name not in self._tools or not isinstance(arguments, dict):
            return None
        # Nine letters and digits: the templates of Mistral take no other.
        return RequestedCall(
            id=secrets.token_hex(5)[:9], name=name, arguments=cast("JsonObject", arguments)
        )


def _without(text: str, marks: Sequence[str]) -> str:
    """The text without the marks and the space that it begins with."""
    text = text.lstrip()
    while mark := next(filter(text.startswith, marks), ""):
        text = text.removeprefix(mark).lstrip()
    return text


def _cut_value(text: str, arguments: str) -> tuple[object, str]:
    """Cut a JSON value off the front, or arguments with the name of their tool before them.

    Raises:
        ValueError: It begins with neither.
    """
    named = _NAMED.match(text)
    start = named.end() if named else 0
    value, end = cast("tuple[object, int]", _DECODER.raw_decode(text, start))
    if named:
        value = {"name": named[1], arguments: value}
    return value, text[end:]
