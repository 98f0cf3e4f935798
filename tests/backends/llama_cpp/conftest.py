"""Models of random weights, and the settings that run them."""

import dataclasses
from pathlib import Path

import pytest

from backends.llama_cpp import LlamaSettings
from tests.backends.llama_cpp.asking import ENDLESS_TOKENS
from tests.backends.llama_cpp.tiny_models import write_embedding_model, write_language_model


@pytest.fixture
def anyio_backend() -> str:
    """Subprocesses run on asyncio, as in production."""
    return "asyncio"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `language.gguf`, `endless.gguf` and `embedding.gguf`."""
    folder = tmp_path_factory.mktemp("models")
    write_language_model(folder / "language.gguf")
    write_language_model(folder / "endless.gguf", context_tokens=ENDLESS_TOKENS)
    write_embedding_model(folder / "embedding.gguf")
    return folder


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps the verdict of the probe from test to test."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def language(models: Path, cache_dir: Path) -> LlamaSettings:
    """The random language model on four slots."""
    return LlamaSettings(
        model=models / "language.gguf", name="tiny", slots=4, threads=1, cache_dir=cache_dir
    )


@pytest.fixture
def endless(language: LlamaSettings, models: Path) -> LlamaSettings:
    """One slot for an answer that takes minutes if nothing ends it."""
    return dataclasses.replace(
        language, model=models / "endless.gguf", slots=1, context_tokens=ENDLESS_TOKENS
    )


@pytest.fixture
def embedding(models: Path, cache_dir: Path) -> LlamaSettings:
    """The random embedding model."""
    return LlamaSettings(model=models / "embedding.gguf", name="tiny-bert", cache_dir=cache_dir)
