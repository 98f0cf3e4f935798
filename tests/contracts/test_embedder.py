"""Contract of `Embedder`: every implementation that needs no download passes these tests."""

from collections.abc import Callable

import numpy as np
import pytest

from backends.embedding import StaticEmbedder
from backends.protocols import Embedder
from tests.backends.memory_store.embedders import WordEmbedder


@pytest.fixture(params=[StaticEmbedder, WordEmbedder])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    make: Callable[[], Embedder] = request.param
    return make()


async def test_vectors_are_unit_vectors_row_by_row(embedder: Embedder) -> None:
    texts = ["the cat sat on the mat", "stock markets fell", "über café 日本"]
    vectors = await embedder.embed(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == 3
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for row, text in zip(vectors, texts, strict=True):
        np.testing.assert_allclose(await embedder.embed([text]), [row], atol=1e-6)


async def test_like_texts_lie_nearer(embedder: Embedder) -> None:
    vectors = await embedder.embed(
        ["the cat sat on the mat", "a cat sat on a mat", "stock markets fell"]
    )
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


@pytest.mark.parametrize("text", ["", " \n", "\N{GRINNING FACE}", "word " * 20_000, "\ud800 a\0b"])
async def test_any_text_can_be_embedded(embedder: Embedder, text: str) -> None:
    [vector] = await embedder.embed([text])
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) <= 1 + 1e-5


async def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert (await embedder.embed([])).shape[0] == 0


async def test_two_of_a_kind_have_one_name_and_make_the_same_vectors(embedder: Embedder) -> None:
    other = type(embedder)()
    assert other.name == embedder.name
    np.testing.assert_array_equal(await other.embed(["a b c"]), await embedder.embed(["a b c"]))
