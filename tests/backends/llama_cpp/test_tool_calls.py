"""Reading tool calls out of text, whatever pieces it comes in."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.llama_cpp.tool_calls import CallFormat, CallReader, call_format
from tests.backends.llama_cpp.tool_templates import HERMES, LLAMA3, MISTRAL

TOOLS = {"add", "fs.read"}
CALL = ("add", {"a": 1, "text": 'say "</tool_call>" {[;'})


def form_of(template: str) -> CallFormat:
    form = call_format(template)
    assert form is not None
    return form


def read(
    template: str, text: str, cuts: list[int], *, has_begun: bool = False
) -> tuple[str, list[tuple[str, object]]]:
    """What is said, and what is called, of a text that comes in pieces."""
    reader = CallReader(form_of(template), TOOLS, has_begun=has_begun)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    said = "".join(reader.push(text[start:end]) for start, end in pairwise(edges))
    rest, calls = reader.finish()
    assert len({call.id for call in calls}) == len(calls)
    return said + rest, [(call.name, call.arguments) for call in calls]


def written(key: str, *, name: str = "add") -> str:
    return json.dumps({"name": name, key: CALL[1]})


brief = settings(max_examples=20, deadline=None)
cuts = st.lists(st.integers(0, 500), max_size=12)


@brief
@given(cuts=cuts)
@pytest.mark.parametrize(
    ("template", "text", "said", "count"),
    [
        (HERMES, f"<tool_call>\n{written('arguments')}\n</tool_call>", "", 1),
        (HERMES, f"Let me see. <tool_call>{written('arguments')}", "Let me see. ", 1),
        (
            HERMES,
            f"<tool_call>{written('arguments')}</tool_call>\n" * 2,
            "",
            2,
        ),
        (HERMES, f"<tool_call>{written('arguments')}</tool_call>\nDone.", "\nDone.", 1),
        (MISTRAL, f"[TOOL_CALLS] [{written('arguments')}]", "", 1),
        (MISTRAL, f"Well.[TOOL_CALLS][{written('arguments')}, {written('arguments')}]", "Well.", 2),
        (MISTRAL, f"[TOOL_CALLS]add[ARGS]{json.dumps(CALL[1])}", "", 1),
        (LLAMA3, f"\n{written('parameters')}", "", 1),
        (LLAMA3, f"<|python_tag|>{written('parameters')}; {written('parameters')}", "", 2),
    ],
)
def test_calls_are_read_whatever_the_pieces(
    template: str, text: str, said: str, count: int, cuts: list[int]
) -> None:
    assert read(template, text, cuts) == (said, [CALL] * count)


@brief
@given(cuts=cuts)
@pytest.mark.parametrize("template", [HERMES, MISTRAL, LLAMA3])
@pytest.mark.parametrize(
    "text",
    [
        "plain words",
        "<tool_cal",
        "<tool_call>no json",
        '<tool_call>{"name": "add", "arguments": {"a": 1',
        f"<tool_call>{json.dumps({'name': 'unknown', 'arguments': {}})}</tool_call>",
        f"<tool_call>{json.dumps({'name': 'add', 'arguments': 'x'})}</tool_call>",
        "[TOOL_CALLS] none",
        f"<tool_call>{written('arguments')}</tool_call><tool_call>" + '{"name": "add", ',
        f"<tool_call>{written('arguments')}</tool_call><tool_call>cut",
        written("parameters") + '; {"name": ',
        "<tool_call>" + "[" * 100_000,
        ";" * 5000,
        "[TOOL",
        '{"name": "Ada", "parameters": {}}',
        '{"result": [1, 2]}',
        "  <|python_tag|>print(1)",
        " <|pyt",
        "",
    ],
)
def test_what_only_looks_like_a_call_is_said_as_it_stands(
    template: str, text: str, cuts: list[int]
) -> None:
    assert read(template, text, cuts) == (text, [])


@brief
@given(cuts=cuts)
@pytest.mark.parametrize(
    ("template", "text"),
    [
        (HERMES, written("arguments")),
        (MISTRAL, f"[{written('arguments')}]"),
        (LLAMA3, written("parameters")),
    ],
)
def test_a_call_that_the_prompt_has_begun_needs_no_opening(
    template: str, text: str, cuts: list[int]
) -> None:
    assert read(template, text, cuts, has_begun=True) == ("", [CALL])


@brief
@given(text=st.text(st.sampled_from("<tool_ca>[TOLCS]{} a\n|python"), max_size=40), cuts=cuts)
@pytest.mark.parametrize("template", [HERMES, MISTRAL, LLAMA3])
def test_no_text_is_lost(template: str, text: str, cuts: list[int]) -> None:
    assert read(template, text, cuts) == (text, [])


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        "{% if tools %}{{ tools }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}",
        HERMES.replace('{"name":', "<function=name>"),
    ],
)
def test_a_template_that_shows_no_known_way_has_none(template: str) -> None:
    assert call_format(template) is None
