"""Strict arguments: nothing is coerced, nothing is ignored, and all problems are told at once."""

import difflib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from aios_mcp.errors import InvalidArgumentError

_MOST_PROBLEMS = 10
_SHOWN_CHARACTERS = 40
_IMPLIED: Mapping[str, tuple[object, ...]] = {
    "default": (None, [], {}),
    "additionalProperties": (True,),
}


class Arguments(BaseModel):
    """The arguments of a tool, or an object among them. None stands for an absent argument."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


A = TypeVar("A", bound=Arguments)


def parse(model: type[A], arguments: Mapping[str, object]) -> A:
    """Read arguments.

    Raises:
        InvalidArgumentError: They do not fit; the text names each problem and what would fit.
    """
    try:
        return model.model_validate(arguments)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
    # Bounded: each may cost a search for the nearest name, and the caller chose how many.
    told = errors[:_MOST_PROBLEMS]
    problems = list(dict.fromkeys(_problem(error, input_schema(model)) for error in told))
    if len(errors) > len(told):
        problems.append(f"and {len(errors) - len(told)} more")
    raise InvalidArgumentError("; ".join(problems))


@cache
def input_schema(model: type[Arguments]) -> dict[str, Any]:
    """Give the published JSON Schema of a model, plain enough for a small model to follow.

    Nested objects stand in place, and that an optional argument may be null goes without saying.
    """
    whole = model.model_json_schema()
    return _without(_plain(whole, whole.get("$defs", {})), "description")


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _plain({**definitions[name], **_without(schema, "$ref")}, definitions)
    if "anyOf" in schema:
        [present] = [each for each in schema["anyOf"] if each != {"type": "null"}]
        return _plain({**present, **_without(schema, "anyOf")}, definitions)
    implied = [key for key, values in _IMPLIED.items() if schema.get(key) in values]
    plain = _without(schema, "title", "$defs", *implied)
    if "properties" in plain:
        named = plain["properties"]
        plain["properties"] = {key: _plain(each, definitions) for key, each in named.items()}
    if "items" in plain:
        plain["items"] = _plain(plain["items"], definitions)
    return plain


def _without(schema: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: each for key, each in schema.items() if key not in keys}


# --- Problems in plain words -------------------------------------------------------------------

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_from_float": "an integer",
    "int_type": "an integer",
    "list_type": "a list",
    "model_type": "an object",
    "string_type": "a string",
    "literal_error": "one of {expected}",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "at most {max_length} characters long",
    "string_too_short": "at least {min_length} characters long",
    "too_long": "at most {max_length} entries long",
    "too_short": "at least {min_length} entries long",
}


def _problem(error: ErrorDetails, schema: Mapping[str, Any]) -> str:
    path = ".".join(str(part)[:_SHOWN_CHARACTERS] for part in error["loc"])
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"missing argument {path!r}"
        case "extra_forbidden":
            return f"unknown argument {path!r} ({_nearest(error['loc'], schema)})"
        case "value_error":
            return f"{path!r} {context['error']}" if path else str(context["error"])
        case kind if kind in _EXPECTED:
            expected = _EXPECTED[kind].format(**context)
            return f"{path!r} must be {expected}, got {_shown(error['input'])}"
        case _:
            return f"{path!r}: {error['msg'].replace('Input should', 'should')}"


def _nearest(path: tuple[int | str, ...], schema: Mapping[str, Any]) -> str:
    for part in path[:-1]:
        schema = schema["items"] if isinstance(part, int) else schema["properties"][part]
    known = list(schema["properties"])
    close = difflib.get_close_matches(str(path[-1])[:_SHOWN_CHARACTERS], known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def _shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {str(value)[:_SHOWN_CHARACTERS]}"
        case str():
            text = json.dumps(value[: _SHOWN_CHARACTERS + 1], ensure_ascii=False)
            cut = text if len(value) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
            return f"the string {cut}"
        case list():
            return "a list"
        case _:
            return "an object"
