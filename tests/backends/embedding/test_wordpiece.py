"""The tokeniser, against ids that BERT's own uncased tokeniser gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.embedding.static import TABLE
from backends.embedding.wordpiece import WordPiece


def _load() -> tuple[str, ...]:
    with np.load(TABLE) as table:
        return tuple(table["vocabulary"].tobytes().decode().split("\n"))


VOCABULARY = _load()
_TOKENIZER = WordPiece(VOCABULARY)


def test_the_vocabulary_is_berts() -> None:
    assert len(VOCABULARY) == 30_522
    assert VOCABULARY[100] == "[UNK]"


EXPECTED = [
    ("Hello, World!", [7592, 1010, 2088, 999]),
    ("unaffable embeddings", [14477, 20961, 3468, 7861, 8270, 4667, 2015]),
    (
        "Caroline's caf\xe9 na\xefve \u65e5\u672c\u8a9e",
        [7981, 1005, 1055, 7668, 15743, 1864, 1876, 1950],
    ),
    (
        "\u039f\u0394\u039f\u03a3 stra\xdfe \xc5NGSTR\xd6M",
        [1169, 29722, 29730, 29733, 2358, 27807, 17076, 15687],
    ),
    ("a\tb\nc\x0bd\x00e\u200bf\xa0g", [1037, 1038, 3729, 12879, 1043]),
    (
        "foo_bar-baz@example.org 3.14%",
        [29379, 1035, 3347, 1011, 8670, 2480, 1030, 2742, 1012, 8917, 1017, 1012, 2403, 1003],
    ),
    (
        "xqzjvwkxqzjvwk " + "a" * 101,
        [1060, 4160, 2480, 3501, 2615, 26291, 2595, 4160, 2480, 3501, 2615, 26291, 100],
    ),
    (
        "\U0001f600 \xbd \u20ac \u201cquoted\u201d \u2014 dash",
        [100, 1092, 1574, 1523, 9339, 1524, 1517, 11454],
    ),
]


@pytest.mark.parametrize(("text", "ids"), EXPECTED)
def test_ids_are_those_of_the_original(text: str, ids: list[int]) -> None:
    assert _TOKENIZER.ids(text) == ids


@given(st.text())
def test_any_text_has_tokens_of_the_vocabulary(text: str) -> None:
    assert all(0 <= token < len(VOCABULARY) for token in _TOKENIZER.ids(text))


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_ascii_takes_a_shorter_path_to_the_same_ids(text: str) -> None:
    # A letter with an accent and a space before it sends the text down the longer path.
    assert _TOKENIZER.ids("é " + text)[1:] == _TOKENIZER.ids(text)
