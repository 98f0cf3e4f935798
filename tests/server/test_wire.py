"""What every message passes: strings that can be encoded, known numbers, no text of a bug."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, MCPError

from aios_mcp.server.wire import clean
from backends.text import well_formed
from tests.server.surfaces import server

_ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _ANY_TEXT,
    lambda each: st.lists(each) | st.dictionaries(_ANY_TEXT, each),
    max_leaves=8,
)


@given(_JSON)
def test_what_was_cleaned_can_be_sent(value: object) -> None:
    text = json.dumps(clean(value), ensure_ascii=False, allow_nan=False)
    text.encode()


@given(st.text())
def test_text_that_can_be_encoded_is_left_alone(text: str) -> None:
    assert well_formed(text) is text


def test_two_halves_of_a_character_are_put_together() -> None:
    assert well_formed("\ud83d\ude00") == "\U0001f600"
    assert well_formed("\ud83d-\ude00") == "\ufffd-\ufffd"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_bug_in_what_others_registered_does_not_leave_either(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> str:
        """Break."""
        raise ZeroDivisionError("secret")

    served = server()
    served.prompt()(broken)
    served.resource("test://broken")(broken)
    async with Client(served, mode=mode) as client:
        prompt, resource = client.get_prompt("broken"), client.read_resource("test://broken")
        for use in (prompt, resource):
            with pytest.raises(MCPError) as refusal:
                await use
            assert refusal.value.error.code == -32603
            assert "secret" not in str(refusal.value)
    assert caplog.text.count("ZeroDivisionError: secret") >= 2


async def test_tools_that_others_registered_are_served_beside_ours() -> None:
    served = server()

    @served.tool()
    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    async with Client(served) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("add", {"a": 1, "b": 2})
    assert names[0] == "add"
    assert names == sorted(names)
    assert result.structured_content == {"result": 3}
