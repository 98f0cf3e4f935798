"""Turns pydantic's findings into lines a person can act on: file, line, key, found, fix."""

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aios_mcp.config.lines import Key, entries
from aios_mcp.config.model import Config, default_agent_problem
from aios_mcp.config.part import ADDRESS, NAME, NAMESPACE, POSTGRES, RATE, SECRET_REF

_PATTERNS = {
    f"^{NAME}$": "must be a name: letters, digits, - and _, at most 64, the first no sign",
    SECRET_REF: (
        "must say where the secret is, env:VARIABLE or file:PATH; a secret itself does not belong"
        " in the configuration (and now that it stood there, replace it)"
    ),
    NAMESPACE: "must be a namespace, such as self/*, shared or team/alpha",
    RATE: 'must be a rate, such as "60/min"',
    ADDRESS: "must be an address, such as http://127.0.0.1:11434/v1",
    POSTGRES: (
        "must be postgresql://USER@HOST:PORT/DATABASE, and its password apart, as memory.password"
    ),
}
_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "tuple_type": 'an array, such as ["a", "b"]',
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_NOT_SHOWN = {"token", "api_key", "password", "env", "headers", "command", "url", "base_url"}
_LONGEST_SHOWN = 40
_DEFAULT_AGENT: Key = ("kernel", "default_agent")


def explain(
    error: ValidationError, values: Mapping[str, object], lines: Mapping[Key, int], file: str
) -> tuple[str, ...]:
    """Give one line for each problem, in the order of the file."""
    by_key: dict[Key, list[ErrorDetails]] = {}
    for each in error.errors(include_url=False):
        by_key.setdefault(_key_of(each, values), []).append(each)
    found = [(line_of(key, lines), _text(key, each)) for key, each in by_key.items()]
    # pydantic compares tables with each other only when each of them is right.
    if all(each["loc"] for each in error.errors()) and (problem := _default_agent(values)):
        found.append((line_of(_DEFAULT_AGENT, lines), problem))
    return tuple(
        f"{file}:{line}: {text}" if line else f"{file}: {text}"
        for line, text in sorted(found, key=lambda pair: pair[0])
    )


def line_of(key: Key, lines: Mapping[Key, int]) -> int:
    """Give the line of a key or else of the table around it; 0 if nothing of it is written."""
    sizes = range(len(key), 0, -1)
    return next((lines[key[:size]] for size in sizes if key[:size] in lines), 0)


def dotted(key: Key) -> str:
    """Write a key as a person does: agents.local.args[0].path."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)[1:]


def _key_of(each: ErrorDetails, values: Mapping[str, object]) -> Key:
    """Take pydantic's marks for unions and dictionary keys out of a location."""
    if not each["loc"]:  # the one check over several tables
        return _DEFAULT_AGENT
    loc = tuple(part for part in each["loc"] if part != "[key]")
    if loc[0] == "cores" and len(loc) > 2:
        loc = (*loc[:2], *loc[3:])
    key: Key = ()
    value: object = values
    for part in loc:
        inside = dict(entries(value)).get(part)
        is_absent = inside is None and each["type"] == "missing"
        if inside is None and not is_absent:
            break
        key, value = (*key, part), inside
    return (*key, "backend") if each["type"] == "union_tag_invalid" else key


def _default_agent(values: Mapping[str, object]) -> str:
    agents = dict(entries(values.get("agents")))
    name = dict(entries(values.get("kernel"))).get("default_agent", "local")
    if not agents or not isinstance(name, str):
        return ""
    return default_agent_problem(name, [str(each) for each in agents])


def _text(key: Key, errors: list[ErrorDetails]) -> str:
    first = errors[0]
    name = dotted(key)
    match first["type"]:
        case "extra_forbidden":
            return f"{name}: unknown key; {_known(str(key[-1]), _table(first['loc'][:-1]))}"
        case "missing":
            return f"{name}: missing; this key has no default, so add it"
        case "union_tag_not_found":
            return f'{name}: missing backend; add backend = "llama_cpp" or backend = "openai"'
        case "union_tag_invalid":
            tags = [tag.strip("' ") for tag in first.get("ctx", {})["expected_tags"].split(",")]
            tag = str(first.get("ctx", {})["tag"])
            return f"{name}: found {_found(key, tag)}; {_nearest(tag, tags)}"
        case "value_error":
            reason = first["msg"].removeprefix("Value error, ")
            return reason if not first["loc"] else f"{name}: {reason}"
        case _:
            wanted = " or ".join(dict.fromkeys(map(_wanted, errors))).replace(" or must be", " or")
            return f"{name}: found {_found(key, first['input'])}; {wanted}"


def _wanted(each: ErrorDetails) -> str:
    kind, context = each["type"], each.get("ctx", {})
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"must be {words} {context[bound]:g}"
    if kind == "literal_error":
        choices = str(context["expected"]).replace(" or ", ", ").split(", ")
        return _nearest(str(each["input"]), [choice.strip("'") for choice in choices])
    if kind == "string_pattern_mismatch":
        return _PATTERNS[str(context["pattern"])]
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "finite_number":
        return "must be a finite number"
    return each["msg"][:1].lower() + each["msg"][1:]


def _found(key: Key, value: object) -> str:
    is_secret = any(part in _NOT_SHOWN for part in key)
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return "a number" if is_secret else f"{value:.12g}"
        case str():
            return "text" if is_secret or len(value) > _LONGEST_SHOWN else f"the text {value!r}"
        case tuple():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def _nearest(given: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(given, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"must be {' or '.join(repr(name) for name in names)}{hint}"


def _known(given: str, table: type[BaseModel] | None) -> str:
    names = sorted(table.model_fields) if table else []
    close = difflib.get_close_matches(given, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known here: {', '.join(names)}"


def _table(loc: tuple[str | int, ...]) -> type[BaseModel] | None:
    """Give the model of the table at one of pydantic's locations."""
    kind: object = Config
    for part in loc:
        kind = _step(_bare(kind), part)
    kind = _bare(kind)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _step(kind: object, part: str | int) -> object:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_fields[str(part)].annotation if part in kind.model_fields else None
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    members = get_args(kind)  # a choice between tables, which the location names by its tag
    return next((each for each in members if part in _tags(each)), None)


def _bare(kind: object) -> object:
    """Take off `Annotated` and `| None`."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in {Union, types.UnionType}:
        members = [each for each in get_args(kind) if each is not type(None)]
        return _bare(members[0]) if len(members) == 1 else kind
    return kind


def _tags(kind: object) -> tuple[object, ...]:
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return ()
    annotation = kind.model_fields["backend"].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()
