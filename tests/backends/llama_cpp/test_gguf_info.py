from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.llama_cpp.gguf_info import ModelFileError, read_model_info
from tests.backends.llama_cpp.tiny_models import write_language_model


def test_a_model_file_tells_what_it_is_without_being_loaded(models: Path) -> None:
    info = read_model_info(models / "language.gguf")

    assert (info.architecture, info.name, info.context_tokens) == ("llama", "tiny", 1024)
    assert (info.dimensions, info.quantization) == (128, "F32")
    assert info.is_causal
    assert info.has_chat_template
    assert info.parameters == 2 * 259 * 128 + 128 + 2 * (2 * 128 + 4 * 128 * 128 + 3 * 128 * 256)
    assert info.size_bytes == (models / "language.gguf").stat().st_size
    assert info.kv_bytes_per_token == 2 * 128 * 2 * 2


def test_an_embedding_model_is_not_causal_and_has_no_chat_template(models: Path) -> None:
    info = read_model_info(models / "embedding.gguf")

    assert info.architecture == "bert"
    assert not info.is_causal
    assert not info.has_chat_template


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_language_model(tmp_path_factory.mktemp("gguf") / "whole.gguf").read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf") / "scratch.gguf"


@given(cut=st.floats(0.0, 0.9999))
@settings(deadline=None, max_examples=60)
def test_a_file_cut_anywhere_is_refused(whole: bytes, scratch: Path, cut: float) -> None:
    # The very end may be padding behind the last weight.
    scratch.write_bytes(whole[: int((len(whole) - 64) * cut)])

    with pytest.raises(ModelFileError):
        read_model_info(scratch)


@given(at=st.integers(0, 6000), byte=st.integers(0, 255))
@settings(deadline=None, max_examples=200)
def test_a_damaged_header_is_read_or_refused_and_nothing_else(
    whole: bytes, scratch: Path, at: int, byte: int
) -> None:
    scratch.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])

    with suppress(ModelFileError):
        read_model_info(scratch)
