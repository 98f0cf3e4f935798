"""Whatever the schema and whatever the model prefers, a finished answer satisfies the schema."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from backends.llama_cpp.binding import load_library
from backends.llama_cpp.grammar import schema_to_gbnf
from backends.llama_cpp.machine import read_machine
from backends.llama_cpp.model import LoadedModel
from backends.llama_cpp.sampling import Chooser, Constraint, Sampling
from backends.llama_cpp.settings import LlamaSettings
from backends.llama_cpp.starting import start_command

MOST_TOKENS = 400
Schema = Mapping[str, object]

names = st.text(st.sampled_from('ab"\\\né'), min_size=1, max_size=3)
values = st.one_of(st.none(), st.booleans(), st.integers(-99, 99), names)


def bounded(low: str, high: str, most: int) -> st.SearchStrategy[Schema]:
    return st.tuples(st.integers(0, most), st.integers(0, most)).map(
        lambda pair: {low: min(pair), high: max(pair)}
    )


leaves = st.one_of(
    st.sampled_from([{"type": kind} for kind in ("null", "boolean", "integer", "number")]),
    bounded("minLength", "maxLength", 4).map(lambda limits: {"type": "string", **limits}),
    st.tuples(st.integers(-200, 200), st.integers(0, 300)).map(
        lambda pair: {"type": "integer", "minimum": pair[0], "maximum": pair[0] + pair[1]}
    ),
    st.lists(values, min_size=1, max_size=3).map(lambda members: {"enum": members}),
    values.map(lambda value: {"const": value}),
)


def nested(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    lists = st.tuples(inner, bounded("minItems", "maxItems", 3)).map(
        lambda pair: {"type": "array", "items": pair[0], **pair[1]}
    )
    objects = st.tuples(
        st.dictionaries(names, inner, max_size=3), st.sets(names), st.booleans()
    ).map(
        lambda parts: {
            "type": "object",
            "properties": parts[0],
            "required": sorted(parts[1] & parts[0].keys()),
            **({"additionalProperties": False} if parts[2] else {}),
        }
    )
    maps = inner.map(lambda schema: {"type": "object", "additionalProperties": schema})
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda members: {"anyOf": members})
    return st.one_of(lists, objects, maps, unions)


schemas = st.recursive(leaves, nested, max_leaves=6)


@pytest.fixture(scope="module")
def model(models: Path) -> Iterator[LoadedModel]:
    start = start_command(
        LlamaSettings(model=models / "language.gguf", name="language", slots=1, threads=1),
        "generate",
        read_machine(),
        (),
    )
    start["extra_buffers"] = False
    loaded = LoadedModel(load_library(), start, lambda _line: None)
    yield loaded
    loaded.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schema=schemas, seed=st.integers(0, 2**32), temperature=st.sampled_from([0.0, 1.0]))
def test_an_answer_that_a_schema_constrains_satisfies_it(
    model: LoadedModel, schema: Schema, seed: int, temperature: float
) -> None:
    constraint = Constraint(load_library(), model.vocab, schema_to_gbnf(schema))
    chooser = Chooser(Sampling(temperature=temperature, seed=seed), constraint)
    random = np.random.default_rng(seed)
    # Where a text may end or a string close this model nearly always does it.
    liking = np.zeros(model.vocab.size, np.float32)
    liking[[*model.vocab.endings, *b'"]}']] = 4.0
    answer = b""
    for _ in range(MOST_TOKENS):
        logits = random.standard_normal(model.vocab.size).astype(np.float32) + liking
        token = chooser.choose(logits, int(logits.argmax()))
        if token in model.vocab.endings:
            Draft202012Validator(schema).validate(json.loads(answer))  # pyright: ignore[reportUnknownMemberType]
            break
        answer += model.vocab.piece(token)
    chooser.close()
