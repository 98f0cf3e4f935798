"""Nothing is coerced, nothing is ignored, and every problem is named with what would fit."""

import pytest

from aios_mcp.errors import InvalidArgumentError
from aios_mcp.server.arguments import Arguments, parse
from aios_mcp.server.schemas import (
    AddArguments,
    ExecuteArguments,
    ForgetArguments,
    GenerateArguments,
    SearchArguments,
)

CASES: list[tuple[type[Arguments], dict[str, object], str]] = [
    (AddArguments, {}, "missing argument 'content'"),
    (
        AddArguments,
        {"content": "x", "namespce": "p"},
        "unknown argument 'namespce' (did you mean 'namespace'?)",
    ),
    (
        ExecuteArguments,
        {"tool": "a.b", "zzz": 1},
        "unknown argument 'zzz' (known are tool, arguments, priority, deadline_ms,"
        " idempotency_key)",
    ),
    (
        GenerateArguments,
        {"prompt": "x", "memory": {"qery": "y"}},
        "unknown argument 'memory.qery' (did you mean 'query'?)",
    ),
    (
        GenerateArguments,
        {"messages": [{"role": "bot", "content": "x"}]},
        "'messages.0.role' must be one of 'system', 'user', 'assistant' or 'tool',"
        ' got the string "bot"',
    ),
    (
        GenerateArguments,
        {"messages": [{"role": "user", "content": "x", "contents": "y"}]},
        "unknown argument 'messages.0.contents' (did you mean 'content'?)",
    ),
    (
        GenerateArguments,
        {"prompt": "x", "max_tokens": "7"},
        "'max_tokens' must be an integer, got the string \"7\"",
    ),
    (
        GenerateArguments,
        {"prompt": "x", "max_tokens": True},
        "'max_tokens' must be an integer, got true",
    ),
    (
        GenerateArguments,
        {"prompt": "x", "max_tokens": 7.5},
        "'max_tokens' must be an integer, got the number 7.5",
    ),
    (GenerateArguments, {"prompt": 3}, "'prompt' must be a string, got the number 3"),
    (GenerateArguments, {"prompt": ""}, "'prompt' must be at least 1 characters long"),
    (GenerateArguments, {"prompt": "x", "stop": "."}, "'stop' must be a list, got the string"),
    (GenerateArguments, {"prompt": "x", "schema": []}, "'schema' must be an object, got a list"),
    (GenerateArguments, {"prompt": "x", "top_p": 0}, "'top_p' must be more than 0"),
    (
        GenerateArguments,
        {"prompt": "x", "temperature": float("inf")},
        "'temperature' must be a finite number",
    ),
    (GenerateArguments, {}, "give exactly one of 'prompt' and 'messages'"),
    (SearchArguments, {"query": "x", "id": "y"}, "give exactly one of 'query' and 'id'"),
    (SearchArguments, {"query": "x", "k": 101}, "'k' must be at most 100, got the number 101"),
    (SearchArguments, {"query": "x", "since": "soon"}, "'since' must be ISO 8601"),
    (AddArguments, {"content": "x", "created": "0001-01-01T00:00:00+02:00"}, "'created' must lie"),
    (AddArguments, {"content": "x", "expires": "9999-12-31T23:00:00-02:00"}, "'expires' must lie"),
    (SearchArguments, {"query": "x", "until": 5}, "'until' must be a string such as 2026-12-01"),
    (SearchArguments, {"query": "x", "namespace": "a b"}, "'namespace' must be text that matches"),
    (AddArguments, {"content": "x", "namespace": "self/*"}, "'namespace' must be text that"),
    (ForgetArguments, {}, "give either 'ids' or a filter: 'kinds', 'tags', 'until'"),
    (ForgetArguments, {"ids": ["x"], "tags": ["y"]}, "give either 'ids' or a filter"),
]


@pytest.mark.parametrize(("model", "arguments", "problem"), CASES, ids=[each[2] for each in CASES])
def test_a_wrong_argument_is_named(
    model: type[Arguments], arguments: dict[str, object], problem: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        parse(model, arguments)
    assert str(refusal.value).startswith(problem)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        parse(AddArguments, {"contents": "x", "tags": "y", "expires": "z"})
    assert len(str(refusal.value).split("; ")) == 4


def test_a_long_value_is_cut_and_stays_on_one_line() -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        parse(GenerateArguments, {"prompt": "x", "seed": "line\n" * 1000})
    assert len(str(refusal.value)) < 120
    assert "\n" not in str(refusal.value)


def test_a_flood_of_problems_is_told_in_part() -> None:
    flood: dict[str, object] = {f"{number}" * 1000: number for number in range(1000)}
    with pytest.raises(InvalidArgumentError) as refusal:
        parse(AddArguments, {"content": "x", **flood})
    problems = str(refusal.value).split("; ")
    assert len(problems) == 11
    assert problems[-1] == "and 990 more"
    assert len(str(refusal.value)) < 3000


def test_null_stands_for_an_absent_argument() -> None:
    arguments = parse(GenerateArguments, {"prompt": "x", "system": None, "memory": None})
    assert arguments == parse(GenerateArguments, {"prompt": "x"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86_400.0),
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10+01:00", 10.0),
        ("1970-01-01T00:00:10", 10.0),
    ],
)
def test_a_moment_is_read_in_utc(text: str, seconds: float) -> None:
    assert parse(SearchArguments, {"query": "x", "since": text}).since == seconds
