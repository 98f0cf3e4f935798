"""The published tools, pinned; and that their schemas say what the parsing does."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import Tool

from aios_mcp.errors import InvalidArgumentError
from aios_mcp.server.arguments import Arguments, input_schema, parse
from aios_mcp.server.schemas import (
    AddArguments,
    ExecuteArguments,
    FindArguments,
    ForgetArguments,
    GenerateArguments,
    SearchArguments,
)
from aios_mcp.server.tools import syscalls

PINNED = Path(__file__).parent / "tools.json"
TOOLS = {name: each.tool for name, each in syscalls().items()}
MODELS: dict[str, type[Arguments]] = {
    "llm_generate": GenerateArguments,
    "execute_tool": ExecuteArguments,
    "find_tools": FindArguments,
    "add_memory": AddArguments,
    "search_memory": SearchArguments,
    "forget_memory": ForgetArguments,
}


def wire(tool: Tool) -> dict[str, Any]:
    return tool.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_the_tools_are_as_pinned() -> None:
    """A change here is a change of the contract: write the file anew only if it is meant."""
    assert {name: wire(tool) for name, tool in TOOLS.items()} == json.loads(PINNED.read_text())


@pytest.mark.parametrize("name", TOOLS)
def test_every_schema_is_closed_plain_and_valid(name: str) -> None:
    tool = TOOLS[name]
    jsonschema.Draft202012Validator.check_schema(tool.input_schema)
    jsonschema.Draft202012Validator.check_schema(tool.output_schema or {})
    text = json.dumps(tool.input_schema)
    assert tool.input_schema["additionalProperties"] is False
    assert not any(word in text for word in ("$ref", "$defs", "anyOf", '"null"', '"title": "'))


@pytest.mark.parametrize("name", TOOLS)
def test_the_examples_of_a_description_are_valid_calls(name: str) -> None:
    description = TOOLS[name].description or ""
    at = description.find("{")
    assert at >= 0
    while at >= 0:
        example, end = json.JSONDecoder().raw_decode(description, at)
        parse(MODELS[name], example)
        at = description.find("{", end)


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_VALUES = st.recursive(
    _SCALARS, lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=6
)


@pytest.mark.parametrize("name", MODELS)
@given(st.data())
def test_what_parses_satisfies_the_published_schema(name: str, data: st.DataObject) -> None:
    model = MODELS[name]
    schema = input_schema(model)
    keys = st.sampled_from(sorted(schema["properties"]))
    arguments = data.draw(st.dictionaries(keys, _VALUES, max_size=4))
    try:
        parse(model, arguments)
    except InvalidArgumentError:
        return
    present = {key: each for key, each in arguments.items() if each is not None}
    jsonschema.validate(present, schema)


@pytest.mark.parametrize("name", TOOLS)
def test_an_error_satisfies_the_output_schema_too(name: str) -> None:
    error = {"error": {"code": "busy", "message": "full", "retryable": True, "retry_after_s": 1.5}}
    schema = TOOLS[name].output_schema
    if schema is None:
        assert name == "execute_tool"
        return
    jsonschema.validate(error, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({}, schema)
