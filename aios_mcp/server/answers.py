"""What the tools answer, as JSON Schemas. Pinned by `tests/server/tools.json`."""

from typing import Any

_STRING: dict[str, Any] = {"type": "string"}
_STRINGS: dict[str, Any] = {"type": "array", "items": _STRING}
_INTEGER: dict[str, Any] = {"type": "integer"}
_NUMBER: dict[str, Any] = {"type": "number"}
_OBJECT: dict[str, Any] = {"type": "object"}
# Said in full: some hosts refuse a schema that leaves a value's type open.
_ANYTHING: dict[str, Any] = {
    "anyOf": [{"type": name} for name in ("object", "array", "string", "number", "boolean", "null")]
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "code": _STRING,
        "message": _STRING,
        "retryable": {"type": "boolean"},
        "retry_after_s": _NUMBER,
        "request_id": {**_STRING, "description": "See aios://audit/{id}"},
        "usage": {"type": "object", "description": "Tokens used by an answer that broke off"},
    },
    "required": ["code", "message", "retryable"],
}


def _object(required: dict[str, Any], **optional: dict[str, Any]) -> dict[str, Any]:
    return {**_OBJECT, "properties": {**required, **optional}, "required": [*required]}


def _answer(required: dict[str, Any], **optional: dict[str, Any]) -> dict[str, Any]:
    # Some clients check the structured part of an error against this schema too.
    schema = _object(required, **optional, error=_ERROR)
    either = [{"required": schema.pop("required")}, {"required": ["error"]}]
    return {**schema, "anyOf": either}


_TOKEN: dict[str, Any] = {"token": _STRING, "logprob": _NUMBER}

GENERATED = _answer(
    {
        "text": _STRING,
        "finish_reason": {"enum": ["stop", "length", "tool_calls", "content_filter"]},
        "core": _STRING,
        "usage": _object(
            {
                "input_tokens": _INTEGER,
                "cached_tokens": _INTEGER,
                "output_tokens": _INTEGER,
                "cost_usd": {
                    "anyOf": [_NUMBER, {"type": "null"}],
                    "description": "null where the core's price is unknown",
                },
            }
        ),
        "attempts": {
            "type": "array",
            "items": _object({"core": _STRING, "outcome": _STRING, "ms": _NUMBER}),
            "description": "Cores that were tried: ok, or the code of an error",
        },
        "queue_ms": _NUMBER,
        "run_ms": _NUMBER,
        "request_id": _STRING,
    },
    calls={
        "type": "array",
        "items": _object({"id": _STRING, "name": _STRING, "arguments": _OBJECT}),
        "description": "Tools the model asks for; tell the results as messages of the role tool",
    },
    logprobs={
        "type": "array",
        "items": _object(
            {
                **_TOKEN,
                "likeliest": {"type": "array", "items": _object(_TOKEN)},
            }
        ),
    },
    data={**_ANYTHING, "description": "The parsed answer, when a schema was given"},
    note={**_STRING, "description": "What to know of the core that answered"},
    memories={**_STRINGS, "description": "Ids of the memories put in front of the prompt"},
    turns={**_STRINGS, "description": "The same for 'turns': request_ids of those calls"},
)
FOUND = _answer(
    {
        "tools": {
            "type": "array",
            "items": _object(
                {"name": _STRING, "description": _STRING, "input_schema": _OBJECT},
                title=_STRING,
                output_schema=_OBJECT,
                annotations=_OBJECT,
            ),
        },
        "unreachable": {**_STRINGS, "description": "Servers that could not be asked"},
    }
)
ADDED = _answer({"id": _STRING, "deduplicated": {"type": "boolean"}}, replaced=_STRING)
HITS = _answer(
    {
        "hits": {
            "type": "array",
            "items": _object(
                {
                    "id": _STRING,
                    "content": _STRING,
                    "score": _NUMBER,
                    "kind": _STRING,
                    "tags": _STRINGS,
                    "namespace": _STRING,
                    "created": _STRING,
                    "source": _OBJECT,
                },
                data=_OBJECT,
                session=_STRING,
                importance=_NUMBER,
                links={
                    "type": "array",
                    "items": _object({"relation": _STRING, "id": _STRING}),
                },
                via={**_STRING, "description": "Id of the hit whose link led here"},
                replaced={**_STRING, "description": "Of an older version: why it was replaced"},
                why={**_OBJECT, "description": "What the score is the sum of"},
            ),
        }
    }
)
FORGOTTEN = _answer(
    {"forgotten": _INTEGER},
    exchanges={**_INTEGER, "description": "Of a session: what was said in it"},
)
