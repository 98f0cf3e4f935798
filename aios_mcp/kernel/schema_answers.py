"""Answers that were to fit a JSON Schema: read, and held to it, whatever the core promised."""

import json
from collections.abc import Iterable
from typing import Any, cast

import jsonschema
from jsonschema import validators
from referencing import Registry
from referencing.exceptions import Unresolvable

from backends.errors import IncompleteAnswerError
from backends.messages import Completion, GenerateRequest

# Holds nothing and fetches nothing: a schema must not make the kernel open an address.
_NO_OTHERS: Registry[Any] = Registry()


def _no_problems(*_: object) -> tuple[()]:
    return ()


# An agent's pattern can take Python's `re` for ever, so patterns are the core's to keep.
_Validator: Any = cast("Any", validators).extend(
    jsonschema.Draft202012Validator, {"pattern": _no_problems}
)
_PATTERNS = "patternProperties"


def read_answer(request: GenerateRequest, completion: Completion) -> object | None:
    """Give the JSON of an answer that was to fit a schema; None where none was asked for.

    Patterns are not looked at, nor are schemas with references that lead out of them.

    Raises:
        IncompleteAnswerError: It is no JSON, or does not fit.
    """
    if request.schema is None or completion.reason != "stop":
        return None
    try:
        answer: object = json.loads(completion.text)
    except ValueError:
        problem = "is not the JSON that was asked for"
    else:
        problem = _misfit(request.schema, answer)
        if not problem:
            return answer
    raise IncompleteAnswerError(
        f"the core's answer {problem}", text=completion.text, usage=completion.usage
    )


def _misfit(schema: object, answer: object) -> str:
    if _PATTERNS in json.dumps(schema):
        return ""
    try:
        jsonschema.Draft202012Validator.check_schema(cast("Any", schema))
        validator = _Validator(schema, registry=_NO_OTHERS)
        errors: Iterable[jsonschema.ValidationError] = validator.iter_errors(answer)
        error = next(iter(errors), None)
    except (jsonschema.SchemaError, Unresolvable):
        return ""
    if error is None:
        return ""
    place = "/".join(str(step) for step in error.absolute_path)
    return f"does not fit the schema at '/{place}' ({error.validator})"
