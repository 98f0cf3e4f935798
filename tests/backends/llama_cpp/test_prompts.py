"""How prompts are cut: each token is computed the same way whatever was kept before."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.model import CHUNK_TOKENS
from backends.llama_cpp.prompts import BLOCK_TOKENS, Tokens, chunk_end, reusable

sizes = st.one_of(st.integers(0, 300), st.sampled_from([63, 64, 65, 127, 128, 129, 192, 256]))
tails = st.lists(st.integers(0, 1), min_size=1, max_size=3)


def _ways(size: int, start: int = 0) -> list[bool]:
    """Whether each token from `start` on is computed among a block's worth of rows."""
    ways: list[bool] = []
    while start < size:
        end = chunk_end(start, size)
        assert start < end <= start + CHUNK_TOKENS
        ways += [end - start >= BLOCK_TOKENS] * (end - start)
        start = end
    return ways


def _prompt(shared: int, size: int, tail: list[int]) -> Tokens:
    return np.array([7] * shared + (tail * size)[:size], np.int32)


@given(shared=sizes, sizes=st.tuples(sizes, sizes), tails=st.tuples(tails, tails))
def test_a_reused_token_was_computed_as_it_would_be_anew(
    shared: int, sizes: tuple[int, int], tails: tuple[list[int], list[int]]
) -> None:
    kept = _prompt(shared, sizes[0], tails[0])
    prompt = _prompt(shared, sizes[1] + 1, tails[1])

    reused = reusable(kept, prompt)

    assert reused < len(prompt)
    assert np.array_equal(kept[:reused], prompt[:reused])
    fresh = _ways(len(prompt))
    assert _ways(len(kept))[:reused] + _ways(len(prompt), reused) == fresh


@given(shared=sizes, sizes=st.tuples(sizes, sizes), tail=tails)
def test_less_than_a_block_of_what_prompts_share_is_computed_again(
    shared: int, sizes: tuple[int, int], tail: list[int]
) -> None:
    kept = _prompt(shared, sizes[0], tail)
    prompt = _prompt(shared, sizes[1] + 1, [9])

    assert min(shared, len(kept)) - reusable(kept, prompt) < BLOCK_TOKENS


def test_prompts_shorter_than_a_block_share_all_that_is_the_same() -> None:
    kept, prompt = _prompt(40, 9, [0]), _prompt(40, 12, [1])

    assert reusable(kept, prompt) == 40
