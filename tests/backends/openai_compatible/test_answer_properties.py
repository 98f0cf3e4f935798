"""Whatever an endpoint streams: a whole answer needs a known end, and is its pieces joined."""

import json
from dataclasses import asdict

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import BackendError
from backends.openai_compatible.answer import Answer
from tests.backends.openai_compatible.asking import prompt, settings_for
from tests.backends.openai_compatible.endpoint import Endpoint, says

SETTINGS = settings_for(Endpoint("http://127.0.0.1:1/v1", says()))
KNOWN = ("stop", "length", "tool_calls", "function_call", "content_filter", "eos", "model_length")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
# With surrogates: what JSON's escapes can hold and UTF-8 cannot.
texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=4)
calls = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | json_values,
        "id": texts | json_values,
        "function": st.fixed_dictionaries(
            {},
            optional={
                "name": texts | json_values,
                "arguments": st.sampled_from(["{}", '{"a":', "1}"]) | texts | json_values,
            },
        )
        | json_values,
    },
)
tokens = st.fixed_dictionaries(
    {}, optional={"token": texts | json_values, "logprob": st.floats() | json_values}
)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": texts | json_values,
        "refusal": texts | json_values,
        "reasoning_content": texts | json_values,
        "tool_calls": st.lists(calls | json_values, max_size=3) | json_values,
    },
)
choices = st.fixed_dictionaries(
    {},
    optional={
        "delta": deltas | json_values,
        "logprobs": st.fixed_dictionaries({"content": st.lists(tokens, max_size=2)}) | json_values,
        "finish_reason": st.none() | st.sampled_from(["", *KNOWN]) | st.text() | json_values,
    },
)
chunks = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(choices, max_size=2) | json_values,
        "usage": st.dictionaries(
            st.sampled_from(["prompt_tokens", "completion_tokens", "prompt_tokens_details"]),
            json_values,
        )
        | json_values,
        "error": json_values,
    },
)


@settings(deadline=None, max_examples=500)
@given(st.lists(chunks | json_values, max_size=6))
def test_any_stream_gives_a_whole_answer_or_an_error(stream: list[object]) -> None:
    answer = Answer(SETTINGS, prompt())
    pieces = list[str]()
    try:
        for chunk in stream:
            piece = answer.take(json.dumps(chunk))
            if piece is not None:
                assert piece.tokens >= 0
                pieces.append(piece.text)
        last = answer.finish()
        if last is not None:
            pieces.append(last.text)
        completion = answer.completion()
    except BackendError as exc:
        str(exc).encode()
        return
    assert any(f'"finish_reason": "{reason}"' in json.dumps(stream) for reason in KNOWN)
    assert completion.text == "".join(pieces)
    completion.text.encode()
    assert bool(completion.calls) == (completion.reason == "tool_calls")
    # What goes on the wire is UTF-8, and JSON knows no infinities.
    json.dumps([asdict(each) for each in completion.logprobs], allow_nan=False)
    for call in completion.calls:
        f"{call.id}{call.name}{json.dumps(call.arguments, allow_nan=False)}".encode()
    usage = completion.usage
    assert 0 <= usage.cached_tokens <= usage.input_tokens
    assert usage.output_tokens >= 0


@given(st.text(max_size=200) | st.binary(max_size=200).map(repr))
def test_any_data_is_taken_or_is_an_error(data: str) -> None:
    try:
        Answer(SETTINGS, prompt()).take(data)
    except BackendError as exc:
        str(exc).encode()
