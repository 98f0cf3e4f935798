import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_mcp.config.lines import Key, entries, find_lines

SAMPLE = '''\
# comment [not.a.table]
title = "a # no comment"

[agents.local]  # comment
"odd key" = 1
'lit.eral'.sub = 2
dotted.key.deep = 3
text = """
[not.a.table]
key = 1
"""
raw = \'\'\'
x = "y"\'\'\'
list = [
  "one",  # ] not the end
  [2, 3],
  { path = "p", eq = [
    1 ] },
]
[[servers.x]]
a = 1
[[servers.x]]
a = 2
[servers.x.env]
A = 1979-05-27T07:32:00Z
[[servers.x.deep]]
"q\\u0041" = { b.c = 1, d = "}" }
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("title",), 2),
        (("agents",), 4),
        (("agents", "local"), 4),
        (("agents", "local", "odd key"), 5),
        (("agents", "local", "lit.eral", "sub"), 6),
        (("agents", "local", "dotted", "key"), 7),
        (("agents", "local", "dotted", "key", "deep"), 7),
        (("agents", "local", "text"), 8),
        (("agents", "local", "raw"), 12),
        (("agents", "local", "list"), 14),
        (("agents", "local", "list", 0), 15),
        (("agents", "local", "list", 1, 1), 16),
        (("agents", "local", "list", 2, "path"), 17),
        (("agents", "local", "list", 2, "eq"), 17),
        (("agents", "local", "list", 2, "eq", 0), 18),
        (("servers", "x"), 20),
        (("servers", "x", 0, "a"), 21),
        (("servers", "x", 1), 22),
        (("servers", "x", 1, "a"), 23),
        (("servers", "x", 1, "env", "A"), 25),
        (("servers", "x", 1, "deep", 0, "qA", "b", "c"), 27),
        (("servers", "x", 1, "deep", 0, "qA", "d"), 27),
    ],
)
def test_a_key_is_found_on_its_line(key: Key, line: int) -> None:
    assert find_lines(SAMPLE)[key] == line


def test_nothing_but_the_keys_of_the_document_is_found() -> None:
    assert set(find_lines(SAMPLE)) == set(_keys(tomllib.loads(SAMPLE), ()))


_VALUES = st.recursive(
    st.sampled_from(
        [
            "1",
            "-0.5e3",
            "true",
            "'lit # [x]'",
            '"b\\"a]s"',
            '"""m\n[t]\n"" x"""',
            "'''\na = 1\n''''",
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: "[" + ",\n".join(each) + "]"),
        st.dictionaries(st.sampled_from(["a", '"q.k"', "'l'"]), inner, max_size=3).map(
            lambda each: "{" + ", ".join(f"{key} = {value}" for key, value in each.items()) + "}"
        ),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["k", "x.y", '"s p"', "z.'w'.v"]), _VALUES))
def test_every_document_gives_exactly_its_own_keys_in_rising_lines(pairs: dict[str, str]) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in pairs.items())
    found = find_lines(text)
    assert set(found) == set(_keys(tomllib.loads(text), ()))
    assert list(found.values()) == sorted(found.values())


def _keys(value: object, above: Key) -> Iterator[Key]:
    for part, each in entries(value):
        yield (*above, part)
        yield from _keys(each, (*above, part))
