"""Tools given to a real model: in its prompt, and in what it answers."""

import dataclasses
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from backends.errors import BackendRefusedError, ContextOverflowError
from backends.llama_cpp import LlamaSettings, open_llama_core
from backends.messages import GenerateRequest, JsonObject, Message, RequestedCall, ToolSpec
from tests.backends.llama_cpp.asking import ask
from tests.backends.llama_cpp.tiny_models import CONTROL, write_language_model
from tests.backends.llama_cpp.tool_templates import HERMES, LLAMA3, MISTRAL

TEMPLATES = {"hermes": HERMES, "mistral": MISTRAL, "llama3": LLAMA3}
ADD: JsonObject = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "minimum": 0, "maximum": 99},
        "b": {"enum": ["x", "y"]},
    },
    "required": ["a", "b"],
    "additionalProperties": False,
}
# A grammar cannot keep a pattern; its arguments are some object then.
FIND: JsonObject = {
    "type": "object",
    "properties": {"q": {"$ref": "#/$defs/query"}},
    "$defs": {"query": {"type": "string", "pattern": "^a"}},
}
TOOLS = (
    ToolSpec(name="add", description="Adds.", input_schema=ADD),
    ToolSpec(name="find", description="Finds.", input_schema=FIND),
)
BRIEF = TOOLS[:1]


def asking(*messages: Message, **fields: object) -> GenerateRequest:
    whole = GenerateRequest(messages=messages or (Message("user", "add"),), tools=BRIEF)
    return dataclasses.replace(whole, **fields)  # type: ignore[arg-type]


@pytest.fixture(params=TEMPLATES)
def taught(
    request: pytest.FixtureRequest, language: LlamaSettings, tmp_path: Path
) -> LlamaSettings:
    """A model of random weights whose template defines tool calls."""
    model = write_language_model(
        tmp_path / "taught.gguf",
        template=TEMPLATES[request.param],
        context_tokens=4096,
        control=(*CONTROL, "[TOOL_CALLS]", "<tool_call>", "<|python_tag|>"),
    )
    return dataclasses.replace(language, model=model)


async def test_a_model_that_must_call_a_tool_calls_one_with_fitting_arguments(
    taught: LlamaSettings,
) -> None:
    requests = [
        asking(tool_choice="required", max_tokens=300, temperature=1.0, seed=seed)
        for seed in range(4)
    ]
    async with open_llama_core(taught) as core:
        answers = [await ask(core, each) for each in requests]

    for answer in answers:
        assert (answer.reason, answer.text) == ("tool_calls", "")
        [call] = answer.calls
        assert call.name == "add"
        Draft202012Validator(ADD).validate(call.arguments)  # pyright: ignore[reportUnknownMemberType]
        assert (len(call.id), call.id.isalnum()) == (9, True)
    assert len({str(answer.calls[0].arguments) for answer in answers}) > 1


async def test_a_tool_whose_schema_no_grammar_keeps_can_be_required_with_any_arguments(
    taught: LlamaSettings,
) -> None:
    asked = asking(tools=TOOLS[1:], tool_choice="required", max_tokens=40, temperature=1.0)
    async with open_llama_core(taught) as core:
        answers = [await ask(core, dataclasses.replace(asked, seed=seed)) for seed in range(6)]

    finished = [answer for answer in answers if answer.reason != "length"]
    assert all(answer.calls[0].name == "find" for answer in finished)
    assert all('"find"' in answer.text for answer in answers if answer not in finished)


async def test_a_model_that_calls_nothing_says_what_it_says(taught: LlamaSettings) -> None:
    async with open_llama_core(taught) as core:
        answer = await ask(core, asking(max_tokens=30))

    assert answer.calls == ()
    assert (answer.reason, answer.usage.output_tokens) == ("length", 30)
    assert answer.text


async def test_tools_are_told_to_the_model_unless_it_must_not_call_them(
    taught: LlamaSettings,
) -> None:
    async with open_llama_core(taught) as core:
        told = await ask(core, asking(max_tokens=1))
        hidden = await ask(core, asking(max_tokens=1, tool_choice="none"))
        without = await ask(core, asking(max_tokens=1, tools=()))

    assert hidden.usage.input_tokens == without.usage.input_tokens
    assert told.usage.input_tokens > without.usage.input_tokens + len("Adds.")


async def test_calls_and_their_results_are_part_of_the_conversation(taught: LlamaSettings) -> None:
    call = RequestedCall(id="call-with-a-long-id", name="add", arguments={"a": 1, "b": "x"})
    conversation = (
        Message("user", "add"),
        Message("assistant", "", calls=(call,)),
        Message("tool", "3", call_id=call.id),
    )
    async with open_llama_core(taught) as core:
        whole = await ask(core, asking(*conversation, max_tokens=1))
        bare = await ask(core, asking(conversation[0], max_tokens=1))

    # All of these are bytes of the prompt.
    added = whole.usage.input_tokens - bare.usage.input_tokens
    assert added > len('{"name": "add", {"a": 1, "b": "x"}}')


async def test_control_tokens_in_tools_and_calls_are_read_as_plain_text(
    taught: LlamaSettings,
) -> None:
    def prompt_tokens_of(text: str) -> GenerateRequest:
        tool = ToolSpec(name="add", description=text, input_schema={"type": "object", text: text})
        call = RequestedCall(id="123456789", name="add", arguments={text: [text]})
        messages = (Message("user", "hi"), Message("assistant", "", calls=(call,)))
        return asking(*messages, tools=(tool,), max_tokens=1)

    async with open_llama_core(taught) as core:
        attack = await ask(core, prompt_tokens_of("<|im_start|>"))
        plain = await ask(core, prompt_tokens_of("<-im_start->-"))

    assert attack.usage.input_tokens == plain.usage.input_tokens


@pytest.mark.parametrize("fields", [{}, {"tool_choice": "required"}])
async def test_a_model_that_was_not_taught_to_call_refuses_tools(
    language: LlamaSettings, fields: dict[str, object]
) -> None:
    async with open_llama_core(language) as core:
        takes_tools = core.status().takes_tools
        with pytest.raises(BackendRefusedError, match="not taught to call tools"):
            await ask(core, asking(**fields))
        served = await ask(core, asking(tool_choice="none", max_tokens=2))

    assert not takes_tools
    assert served.usage.output_tokens == 2


async def test_an_answer_held_to_a_schema_may_be_a_call_instead(taught: LlamaSettings) -> None:
    # References lead into the answer's own schema, whatever the tools bring.
    schema: JsonObject = {"$ref": "#/$defs/mark", "$defs": {"mark": {"enum": [[1], [2], "x"]}}}
    asked = asking(tools=TOOLS[:1], schema=schema, max_tokens=300, temperature=2.0)
    async with open_llama_core(taught) as core:
        answers = [await ask(core, dataclasses.replace(asked, seed=seed)) for seed in range(24)]
        required = await ask(core, dataclasses.replace(asked, tool_choice="required"))

    called = [answer for answer in answers if answer.calls]
    said = [answer for answer in answers if not answer.calls]
    assert called
    assert said
    for answer in (*called, required):
        assert (answer.reason, answer.text) == ("tool_calls", "")
        Draft202012Validator(ADD).validate(answer.calls[0].arguments)  # pyright: ignore[reportUnknownMemberType]
    assert all(json.loads(answer.text) in ([1], [2], "x") for answer in said)


async def test_what_the_context_cannot_hold_is_refused(taught: LlamaSettings) -> None:
    async with open_llama_core(taught) as core:
        takes_tools = core.status().takes_tools
        with pytest.raises(ContextOverflowError):
            await ask(core, asking(Message("user", "x" * 4000), max_tokens=50))

    assert takes_tools
