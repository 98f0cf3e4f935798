from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.llama_cpp.gguf_info import ModelFileError, read_model_info
from tests.backends.llama_cpp.tiny_models import write_language_model


def test_a_model_file_tells_what_it_is_without_being_loaded(models: Path) -> None:
    info = read_model_info(models / "language.gguf")

    assert (info.architecture, info.name, info.context_tokens) == ("llama", "tiny", 1024)
    assert (info.dimensions, info.quantization) == (128, "F32")
    assert info.is_causal
    assert info.chat_template
    assert info.parameters == 2 * 259 * 128 + 128 + 2 * (2 * 128 + 4 * 128 * 128 + 3 * 128 * 256)
    assert info.size_bytes == (models / "language.gguf").stat().st_size
    assert info.kv_bytes_per_token == 2 * 128 * 2 * 2


def test_an_embedding_model_is_not_causal_and_has_no_chat_template(models: Path) -> None:
    info = read_model_info(models / "embedding.gguf")

    assert info.architecture == "bert"
    assert not info.is_causal
    assert not info.chat_template


def test_a_model_in_several_files_is_as_large_as_all_of_them(models: Path, tmp_path: Path) -> None:
    one = (models / "language.gguf").read_bytes()
    for part in (1, 2):
        (tmp_path / f"m-0000{part}-of-00002.gguf").write_bytes(one)

    assert read_model_info(tmp_path / "m-00001-of-00002.gguf").size_bytes == 2 * len(one)
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(ModelFileError, match="does not exist"):
        read_model_info(tmp_path / "m-00001-of-00002.gguf")


@pytest.mark.parametrize(
    ("kv_heads", "kv_bytes"), [(2, 3 * 2 * 32 * 2), ([2, 0, 4], 6 * 32 * 2), ([0, 0, 0], 0)]
)
def test_layers_may_differ_in_what_they_keep_of_a_token(
    tmp_path: Path, kv_heads: int | list[int], kv_bytes: int
) -> None:
    writer = GGUFWriter(tmp_path / "m.gguf", "hybrid")
    writer.add_embedding_length(64)
    writer.add_block_count(3)
    writer.add_head_count(4)
    writer.add_head_count_kv(kv_heads)
    writer.add_tensor("token_embd.weight", np.zeros((10, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    info = read_model_info(tmp_path / "m.gguf")
    assert (info.layers, info.vocabulary, info.kv_bytes_per_token) == (3, 10, kv_bytes)


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
