import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import SchemaUnsupportedError
from backends.llama_cpp.grammar import schema_to_gbnf
from backends.llama_cpp.integer_range import integer_range

bounds = st.one_of(st.integers(-2000, 2000), st.integers(-(10**14), 10**14))


def accepts(rule: str, number: int) -> bool:
    """Whether the rule, which uses no more of GBNF than regular expressions know, takes it."""
    pattern = re.sub(r'"([^"]*)"', lambda found: re.escape(found[1]), rule).replace(" ", "")
    return re.fullmatch(pattern, str(number)) is not None


@given(low=bounds, high=bounds, number=bounds)
def test_a_range_accepts_exactly_the_integers_in_it(low: int, high: int, number: int) -> None:
    low, high = min(low, high), max(low, high)
    rule = integer_range(low, high)

    for tried in (number, low, high, low - 1, high + 1, 0):
        assert accepts(rule, tried) == (low <= tried <= high)


@given(bound=bounds, number=bounds)
def test_an_open_range_accepts_all_on_its_side(bound: int, number: int) -> None:
    assert accepts(integer_range(bound, None), number) == (number >= bound)
    assert accepts(integer_range(None, bound), number) == (number <= bound)


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "number", "minimum": 0}, "minimum"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "string", "maxLength": 100_000}, "maxLength"),
        ({"type": "object", "properties": {"a": {}}, "required": ["b"]}, "'b'"),
        ({"type": "object", "properties": []}, "properties"),
        ({"enum": ["a"], "type": "integer"}, "enum"),
        ({"anyOf": [{"type": "string"}], "minLength": 3}, "minLength"),
        ({"$ref": "https://example.com/schema"}, "reference"),
        ({"$ref": "#/$defs/none"}, "nowhere"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "minimum"),
        ({"oneOf": [{"type": "string"}, {"type": "string"}]}, "oneOf"),
        ({"type": ["string", 3]}, "3"),
        ({"items": 5}, "items"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(schema: dict[str, object], named: str) -> None:
    with pytest.raises(SchemaUnsupportedError, match=re.escape(named)):
        schema_to_gbnf(schema)


def test_annotations_change_nothing() -> None:
    plain = {"type": "object", "properties": {"a": {"type": "string"}}}
    annotated = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A",
        "description": "something",
        "type": "object",
        "properties": {"a": {"type": "string", "description": "a", "examples": ["x"]}},
    }

    assert schema_to_gbnf(annotated) == schema_to_gbnf(plain)


def test_a_schema_nested_too_deep_is_refused() -> None:
    schema: dict[str, object] = {"type": "string"}
    for _ in range(500):
        schema = {"type": "array", "items": schema}

    with pytest.raises(SchemaUnsupportedError, match="deep"):
        schema_to_gbnf(schema)
