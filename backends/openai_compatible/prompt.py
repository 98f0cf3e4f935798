"""What is sent: a request in the words of the chat completions API."""

import json
from collections.abc import Iterable, Mapping
from typing import cast

from backends.errors import SchemaUnsupportedError, UnsupportedError
from backends.messages import GenerateRequest, JsonObject, Message
from backends.openai_compatible.settings import OpenAISettings
from backends.openai_compatible.tool_calls import ToolNames, told_calls, tool_fields
from backends.text import well_formed

_STRICT_KEYWORDS = frozenset(
    {"$defs", "$ref", "additionalProperties", "anyOf", "const", "definitions", "description"}
    | {"enum", "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maximum"}
    | {"minItems", "minimum", "multipleOf", "pattern", "properties", "required", "title", "type"}
)

_SAMPLING = ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "seed")
_SWITCHES = {
    "schema": ", or set schema_output = true if its endpoint knows response_format json_schema",
    "tools": ", or set tool_calls = true if its endpoint knows tools",
}


def chat_messages(request: GenerateRequest) -> list[dict[str, object]]:
    """Give the conversation as the API takes it."""
    names = ToolNames(request)
    return [_chat_message(message, names) for message in request.messages]


def request_fields(settings: OpenAISettings, request: GenerateRequest) -> dict[str, object]:
    """Give limits, sampling and tools; what the request leaves open stays with the endpoint.

    Raises:
        UnsupportedError: The endpoint lacks what the request asks for, or it cannot be sent.
    """
    _check_lacks_nothing(settings, request)
    fields: dict[str, object] = {
        settings.max_tokens_field: request.max_tokens,
        settings.repeat_penalty_field: request.repeat_penalty,
        **{name: getattr(request, name) for name in _SAMPLING},
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    if request.stop:
        fields["stop"] = [well_formed(text) for text in request.stop]
    if request.schema is not None:
        fields["response_format"] = _response_format(request.schema)
    if request.logprobs is not None:
        fields |= {"logprobs": True, "top_logprobs": request.logprobs}
    return fields | tool_fields(request, ToolNames(request))


def _check_lacks_nothing(settings: OpenAISettings, request: GenerateRequest) -> None:
    for name in sorted(settings.lacks):
        value: object = getattr(request, name)
        if value is not None and value != ():
            error = SchemaUnsupportedError if name == "schema" else UnsupportedError
            raise error(
                f"core {settings.name!r} takes no {name!r}; leave it out or choose another core"
                f"{_SWITCHES.get(name, '')}"
            )


def _chat_message(message: Message, names: ToolNames) -> dict[str, object]:
    text = well_formed(message.text)
    if message.role == "tool":
        if message.call_id:
            return {"role": "tool", "tool_call_id": well_formed(message.call_id), "content": text}
        # A `tool` message must name the call that it answers.
        return {"role": "user", "content": f"Result of a tool:\n{text}"}
    if message.calls:
        calls = told_calls(message.calls, names)
        return {"role": message.role, "content": text or None, "tool_calls": calls}
    return {"role": message.role, "content": text}


def _response_format(schema: JsonObject) -> dict[str, object]:
    try:
        json.dumps(schema, ensure_ascii=False, allow_nan=False).encode()
        strict = schema.get("type") == "object" and _is_strict(schema)
    except (TypeError, ValueError, RecursionError):
        raise SchemaUnsupportedError(
            "the schema cannot be sent: it holds text or numbers outside JSON, or nests too deep"
        ) from None
    named = {"name": "answer", "schema": schema, "strict": strict}
    return {"type": "json_schema", "json_schema": named}


def _is_strict(part: object) -> bool:
    """Whether the API takes a schema in strict mode: closed objects, no optional properties."""
    if isinstance(part, list):
        return all(_is_strict(each) for each in cast("list[object]", part))
    if not isinstance(part, Mapping):
        return True
    schema = cast("JsonObject", part)
    if not _STRICT_KEYWORDS.issuperset(schema):
        return False
    properties = _mapping(schema.get("properties"))
    is_object = "properties" in schema or schema.get("type") == "object"
    required = cast("list[str]", schema.get("required", []))
    is_closed = schema.get("additionalProperties") is False and set(required) == set(properties)
    if is_object and not is_closed:
        return False
    inner: Iterable[object] = (
        *properties.values(),
        *_mapping(schema.get("$defs")).values(),
        *_mapping(schema.get("definitions")).values(),
        schema.get("items"),
        schema.get("anyOf"),
    )
    return all(_is_strict(each) for each in inner)


def _mapping(value: object) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, Mapping) else {}
