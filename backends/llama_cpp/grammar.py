"""Turns a JSON Schema into a GBNF grammar: what the grammar accepts, the schema accepts.

Written here because llama-cpp-python's converter drops what it does not know (bounds, siblings of
`$ref`, of `enum` and of a list of types) and lets rules of equal names collide. Here a part that
cannot be kept is refused by name; annotations are ignored. Object members come in the order the
schema declares them, and only declared ones come.

Grammar: GBNF, llama.cpp, https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

from backends.errors import SchemaUnsupportedError
from backends.llama_cpp.integer_range import integer_range

MAX_DEPTH = 64
MAX_REPEAT = 1000
MAX_RULES = 2000

Node = Mapping[str, object]

_ANNOTATIONS = {
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
    "format", "$schema", "$id", "$comment", "$defs", "definitions", "contentMediaType",
    "contentEncoding", "discriminator", "example",
}  # fmt: skip
_KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": set[str](),
    "boolean": set[str](),
    "null": set[str](),
}
_STRUCTURE = {"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}
_FIXED_RULES = {
    "ws": '" "?',
    "char": r'[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u00" [0-7] [0-9a-fA-F])',
    "string": r'"\"" char* "\""',
    "digits": "[0-9]{1,16}",
    "whole": '"0" | [1-9] [0-9]{0,14}',
    "integer": '"-"? whole',
    "number": '"-"? whole ("." digits)? ([eE] [-+]? [0-9]{1,2})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "value": "object | array | string | number | boolean | null",
    "object": '"{" ws (string ws ":" ws value (ws "," ws string ws ":" ws value)*)? ws "}"',
    "array": '"[" ws (value (ws "," ws value)*)? ws "]"',
}


class CallRule(NamedTuple):
    """How a call is written: `schema`, which has no references, and what stands around its JSON."""

    opening: str
    schema: Node
    closing: str


def schema_to_gbnf(schema: Node, call: CallRule | None = None) -> str:
    """Write the grammar whose sentences are JSON texts that satisfy the schema, or else a call.

    Raises:
        SchemaUnsupportedError: A part of the schema cannot be kept, or is not valid; names it.
    """
    return _Converter(schema).convert(call)


class _Converter:
    def __init__(self, schema: Node) -> None:
        self._schema = schema
        self._rules: dict[str, str] = dict(_FIXED_RULES)
        self._refs: dict[str, str] = {}

    def convert(self, call: CallRule | None) -> str:
        root = self._visit(self._schema, "schema", 0)
        if call is not None:
            # Models write a call on a line of its own.
            opening = f"{_literal(call.opening)} [ \\n]? " if call.opening else ""
            closing = f" ([ \\n]? {_literal(call.closing)})?" if call.closing else ""
            root += f" | {opening}{self._visit(call.schema, 'tools', 0)}{closing}"
        self._rules["root"] = root
        return "\n".join(f"{name} ::= {rule}" for name, rule in self._rules.items())

    def _define(self, rule: str) -> str:
        if len(self._rules) >= MAX_RULES:
            raise SchemaUnsupportedError(f"the schema is too large: more than {MAX_RULES} parts")
        name = f"r{len(self._rules)}"
        self._rules[name] = rule
        return name

    def _visit(self, part: object, where: str, depth: int) -> str:
        """Name of the rule for one subschema."""
        if part is True:
            return "value"
        node = _node(part, where)
        if depth > MAX_DEPTH:
            raise SchemaUnsupportedError(f"{where}: nested more than {MAX_DEPTH} deep")
        node = {key: value for key, value in node.items() if key not in _ANNOTATIONS}
        _check_known(node, where)
        for key, visit in (
            ("$ref", self._visit_ref),
            ("allOf", self._visit_all),
            ("anyOf", self._visit_any),
            ("oneOf", self._visit_one),
        ):
            if key in node:
                _check_alone(node, key, where)
                return visit(node[key], where, depth)
        if "const" in node or "enum" in node:
            return self._visit_values(node, where)
        return self._visit_typed(node, where, depth)

    def _visit_ref(self, ref: object, where: str, depth: int) -> str:
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise SchemaUnsupportedError(f"{where}.$ref: only references into the schema itself")
        if ref in self._refs:
            return self._refs[ref]
        # The name is given before the visit, so that a schema may contain itself.
        name = self._refs[ref] = self._define("")
        rule = self._visit(_resolve(self._schema, ref, where), f"{where}({ref})", depth + 1)
        if rule == name:
            raise SchemaUnsupportedError(f"{where}.$ref: {ref!r} refers to itself")
        self._rules[name] = rule
        return name

    def _visit_all(self, parts: object, where: str, depth: int) -> str:
        members = _sequence(parts, f"{where}.allOf")
        if len(members) != 1:
            raise SchemaUnsupportedError(f"{where}.allOf: only with one member")
        return self._visit(members[0], f"{where}.allOf[0]", depth + 1)

    def _visit_any(self, parts: object, where: str, depth: int) -> str:
        members = _sequence(parts, f"{where}.anyOf")
        names = [
            self._visit(member, f"{where}.anyOf[{at}]", depth + 1)
            for at, member in enumerate(members)
        ]
        return self._define(" | ".join(names))

    def _visit_one(self, parts: object, where: str, depth: int) -> str:
        members = [_node(part, f"{where}.oneOf") for part in _sequence(parts, f"{where}.oneOf")]
        kinds = [self._kind(member, where) for member in members]
        if len(set(kinds)) != len(kinds) or {"integer", "number"} <= set(kinds):
            raise SchemaUnsupportedError(
                f"{where}.oneOf: members must differ in type or in a required const; use anyOf"
            )
        return self._visit_any(members, where, depth)

    def _kind(self, member: Node, where: str) -> str:
        """What tells one member of `oneOf` from the others."""
        if "$ref" in member:
            member = _node(_resolve(self._schema, str(member["$ref"]), where), where)
        kind = member.get("type")
        if not isinstance(kind, str):
            raise SchemaUnsupportedError(f"{where}.oneOf: each member needs one type; use anyOf")
        required = member.get("required")
        properties = member.get("properties")
        if kind != "object" or not isinstance(required, list) or not isinstance(properties, dict):
            return kind
        for name, part in cast("dict[str, object]", properties).items():
            if name in required and isinstance(part, dict) and "const" in part:
                return f"object {name}={json.dumps(part['const'])}"
        return kind

    def _visit_values(self, node: Node, where: str) -> str:
        extra = node.keys() - {"const", "enum", "type"}
        if extra:
            raise SchemaUnsupportedError(f"{where}: {min(extra)} beside enum or const")
        values = [node["const"]] if "const" in node else _sequence(node["enum"], f"{where}.enum")
        if "const" in node and "enum" in node:
            raise SchemaUnsupportedError(f"{where}: const beside enum")
        kinds = _types(node, where)
        allowed = [value for value in values if any(_is_of(value, kind) for kind in kinds)]
        if not allowed:
            raise SchemaUnsupportedError(f"{where}: no value of enum has the type")
        return self._define(
            " | ".join(_literal(json.dumps(value, ensure_ascii=False)) for value in allowed)
        )

    def _visit_typed(self, node: Node, where: str, depth: int) -> str:
        kinds = _types(node, where)
        if "type" not in node:
            kinds = [kind for kind in kinds if node.keys() & _KEYWORDS[kind]]
            if not kinds:
                return "value"
            if len(kinds) > 1:
                raise SchemaUnsupportedError(f"{where}.type: is missing")
        known = {"type"}.union(*(_KEYWORDS[kind] for kind in kinds))
        misplaced = node.keys() - known
        if misplaced:
            raise SchemaUnsupportedError(f"{where}.{min(misplaced)}: not with this type")
        visits: dict[str, Callable[[Node, str, int], str]] = {
            "object": self._visit_object,
            "array": self._visit_array,
            "string": self._visit_string,
            "integer": self._visit_integer,
        }
        names = [visits[kind](node, where, depth) if kind in visits else kind for kind in kinds]
        return names[0] if len(names) == 1 else self._define(" | ".join(names))

    def _visit_object(self, node: Node, where: str, depth: int) -> str:
        properties = _node(node.get("properties", {}), f"{where}.properties")
        required = _sequence(node.get("required", []), f"{where}.required")
        missing = [name for name in required if name not in properties]
        if missing:
            raise SchemaUnsupportedError(f"{where}.required: {missing[0]!r} is not in properties")
        if not properties:
            return self._visit_open_object(node.get("additionalProperties", True), where, depth)
        members = [
            f"{_literal(json.dumps(name, ensure_ascii=False))} ws "
            f'":" ws {self._visit(part, f"{where}.{name}", depth + 1)}'
            for name, part in properties.items()
        ]
        return self._define(f'"{{" ws {self._members(members, properties, required)} ws "}}"')

    def _members(self, members: list[str], names: Node, required: Sequence[object]) -> str:
        """Members in order; an optional one may be left out, commas stand only between members."""
        after = ""
        rest = ""
        for member, name in zip(reversed(members), reversed(list(names)), strict=True):
            if name in required:
                # `rest` follows where nothing has come yet, `after` where something has.
                rest = self._define(f"{member} {after}")
                after = self._define(f'ws "," ws {member} {after}')
                continue
            first = f"{member} {after}"
            rest = self._define(f"{first} | {rest}" if rest else f"({first})?")
            after = self._define(f'(ws "," ws {member})? {after}')
        return rest

    def _visit_open_object(self, values: object, where: str, depth: int) -> str:
        if values is False:
            return self._define('"{" ws "}"')
        if values is True:
            return "object"
        value = self._visit(values, f"{where}.additionalProperties", depth + 1)
        member = self._define(f'string ws ":" ws {value}')
        return self._define(f'"{{" ws ({member} (ws "," ws {member})*)? ws "}}"')

    def _visit_array(self, node: Node, where: str, depth: int) -> str:
        item = self._visit(node.get("items", True), f"{where}.items", depth + 1)
        least, most = _bounds(node, "minItems", "maxItems", where)
        if most == 0:
            return self._define('"[" ws "]"')
        upper = "" if most is None else str(most - 1)
        body = f'{item} (ws "," ws {item}){{{max(least - 1, 0)},{upper}}}'
        return self._define(f'"[" ws {body if least else f"({body})?"} ws "]"')

    def _visit_string(self, node: Node, where: str, _depth: int) -> str:
        least, most = _bounds(node, "minLength", "maxLength", where)
        if least == 0 and most is None:
            return "string"
        return self._define(rf'"\"" char{{{least},{"" if most is None else most}}} "\""')

    def _visit_integer(self, node: Node, where: str, _depth: int) -> str:
        low = _integer(node, "minimum", where)
        high = _integer(node, "maximum", where)
        above = _integer(node, "exclusiveMinimum", where)
        below = _integer(node, "exclusiveMaximum", where)
        lows = [bound for bound in (low, None if above is None else above + 1) if bound is not None]
        highs = [
            bound for bound in (high, None if below is None else below - 1) if bound is not None
        ]
        if not lows and not highs:
            return "integer"
        least, most = max(lows, default=None), min(highs, default=None)
        if least is not None and most is not None and least > most:
            raise SchemaUnsupportedError(f"{where}: minimum is above maximum")
        return self._define(integer_range(least, most))


def _check_known(node: Node, where: str) -> None:
    unknown = node.keys() - _STRUCTURE - set[str]().union(*_KEYWORDS.values())
    if unknown:
        raise SchemaUnsupportedError(f"{where}.{min(unknown)}: not supported; leave it out")


def _check_alone(node: Node, key: str, where: str) -> None:
    others = node.keys() - {key}
    # A type beside a union is common and says nothing that the members do not say again.
    if key in {"anyOf", "oneOf"} and others == {"type"} and node["type"] == "object":
        return
    if others:
        raise SchemaUnsupportedError(f"{where}: {min(others)} beside {key}")


def _node(part: object, where: str) -> Node:
    if not isinstance(part, dict):
        raise SchemaUnsupportedError(f"{where}: must be an object")
    return cast("Node", part)


def _sequence(part: object, where: str) -> list[object]:
    if not isinstance(part, list):
        raise SchemaUnsupportedError(f"{where}: must be a list")
    return cast("list[object]", part)


def _resolve(schema: Node, ref: str, where: str) -> object:
    part: object = schema
    for step in ref.removeprefix("#").split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        node: Node = cast("Node", part) if isinstance(part, dict) else {}
        if key not in node:
            raise SchemaUnsupportedError(f"{where}.$ref: {ref!r} leads nowhere")
        part = node[key]
    return part


def _types(node: Node, where: str) -> list[str]:
    kind = node.get("type", list(_KEYWORDS))
    kinds = [kind] if isinstance(kind, str) else _sequence(kind, f"{where}.type")
    for name in kinds:
        if name not in _KEYWORDS:
            raise SchemaUnsupportedError(f"{where}.type: {name!r} is not a JSON type")
    if not kinds:
        raise SchemaUnsupportedError(f"{where}.type: is empty")
    return [str(name) for name in kinds]


def _is_of(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    kinds: dict[str, type | tuple[type, ...]] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    return kind in kinds and isinstance(value, kinds[kind])


def _integer(node: Node, key: str, where: str) -> int | None:
    value = node.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 10**15:
        raise SchemaUnsupportedError(f"{where}.{key}: must be a whole number below 10^15")
    return value


def _bounds(node: Node, low_key: str, high_key: str, where: str) -> tuple[int, int | None]:
    low = _integer(node, low_key, where) or 0
    high = _integer(node, high_key, where)
    for key, bound in ((low_key, low), (high_key, high or 0)):
        if not 0 <= bound <= MAX_REPEAT:
            raise SchemaUnsupportedError(f"{where}.{key}: must be 0 to {MAX_REPEAT}")
    if high is not None and low > high:
        raise SchemaUnsupportedError(f"{where}: {low_key} is above {high_key}")
    return low, high


def _literal(text: str) -> str:
    """A GBNF string literal that stands for the text."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
