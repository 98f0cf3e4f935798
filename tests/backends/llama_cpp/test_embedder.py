"""The embedder over real llama.cpp."""

import dataclasses
from pathlib import Path

import anyio
import numpy as np
import pytest

from backends.errors import BackendUnavailableError
from backends.llama_cpp import LlamaSettings, open_llama_embedder
from tests.backends.llama_cpp.asking import DEADLINE_SECONDS


async def test_vectors_are_unit_vectors_in_the_order_of_their_texts(
    embedding: LlamaSettings,
) -> None:
    async with open_llama_embedder(embedding) as embedder:
        with anyio.fail_after(DEADLINE_SECONDS):
            together = await embedder.embed(["a cat", "a dog", ""])
            alone = [await embedder.embed([text]) for text in ("a cat", "a dog", "")]

    assert together.shape == (3, 32)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert not np.array_equal(together[0], together[1])


async def test_a_text_beyond_the_context_is_cut_off(embedding: LlamaSettings) -> None:
    async with open_llama_embedder(embedding) as embedder:
        with anyio.fail_after(DEADLINE_SECONDS):
            vectors = await embedder.embed(["a " * 500, "a " * 600])

    np.testing.assert_array_equal(vectors[0], vectors[1])


async def test_no_texts_give_no_vectors(embedding: LlamaSettings) -> None:
    async with open_llama_embedder(embedding) as embedder:
        vectors = await embedder.embed([])

    assert vectors.shape == (0, 32)


async def test_many_texts_are_embedded_in_one_call(embedding: LlamaSettings) -> None:
    texts = [f"{chr(97 + at % 26)} {chr(97 + at // 26)}" for at in range(150)]
    async with open_llama_embedder(embedding) as embedder:
        with anyio.fail_after(DEADLINE_SECONDS):
            vectors = await embedder.embed(texts)
            last = await embedder.embed(texts[-1:])

    assert vectors.shape == (150, 32)
    np.testing.assert_array_equal(vectors[-1:], last)


async def test_the_name_tells_the_model_its_format_and_its_file(
    models: Path, embedding: LlamaSettings
) -> None:
    async with open_llama_embedder(embedding) as embedder:
        name = embedder.name
    other = dataclasses.replace(embedding, model=models / "language.gguf")
    async with open_llama_embedder(other) as embedder:
        other_name = embedder.name

    assert name.startswith("tiny-bert:F32:")
    assert name != other_name


async def test_a_missing_embedding_model_is_told_at_once(
    tmp_path: Path, embedding: LlamaSettings
) -> None:
    missing = dataclasses.replace(embedding, model=tmp_path / "none.gguf")
    with pytest.raises(BackendUnavailableError, match="does not exist"):
        async with open_llama_embedder(missing):
            pass


async def test_an_embedder_has_one_identity_and_many_calls_at_once(
    embedding: LlamaSettings,
) -> None:
    rows: dict[int, object] = {}
    async with open_llama_embedder(embedding) as embedder:

        async def one(at: int) -> None:
            rows[at] = (await embedder.embed([f"text {chr(97 + at)}"])).tobytes()

        with anyio.fail_after(DEADLINE_SECONDS):
            async with anyio.create_task_group() as group:
                for at in range(10):
                    group.start_soon(one, at)

    assert len(set(rows.values())) == 10
