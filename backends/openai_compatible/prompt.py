"""What is sent: a request in the words of the chat completions API."""

import json
from collections.abc import Iterable, Mapping
from typing import cast

from backends.errors import SchemaUnsupportedError
from backends.messages import GenerateRequest, JsonObject, Message
from backends.openai_compatible.settings import OpenAISettings
from backends.text import well_formed

_STRICT_KEYWORDS = frozenset(
    {"$defs", "$ref", "additionalProperties", "anyOf", "const", "definitions", "description"}
    | {"enum", "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maximum"}
    | {"minItems", "minimum", "multipleOf", "pattern", "properties", "required", "title", "type"}
)


def chat_messages(request: GenerateRequest) -> list[dict[str, str]]:
    """Give the conversation as the API takes it."""
    return [_chat_message(message) for message in request.messages]


def sampling_fields(settings: OpenAISettings, request: GenerateRequest) -> dict[str, object]:
    """Give limits and sampling; what the request leaves open stays with the endpoint.

    Raises:
        SchemaUnsupportedError: The endpoint takes no schema, or this one cannot be sent.
    """
    fields: dict[str, object] = {settings.max_tokens_field: request.max_tokens}
    for name in ("temperature", "top_p", "seed"):
        value: object = getattr(request, name)
        if value is not None:
            fields[name] = value
    if request.stop:
        fields["stop"] = [well_formed(text) for text in request.stop]
    if request.schema is not None:
        fields["response_format"] = _response_format(settings, request.schema)
    return fields


def _chat_message(message: Message) -> dict[str, str]:
    text = well_formed(message.text)
    # A `tool` message must name the call that it answers, and conversations here have no such ids.
    if message.role == "tool":
        return {"role": "user", "content": f"Result of a tool:\n{text}"}
    return {"role": message.role, "content": text}


def _response_format(settings: OpenAISettings, schema: JsonObject) -> dict[str, object]:
    if not settings.supports_schema:
        raise SchemaUnsupportedError(
            f"core {settings.name!r} takes no JSON Schema; leave out `schema`, choose another core,"
            " or set schema_output = true if its endpoint knows response_format json_schema"
        )
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
