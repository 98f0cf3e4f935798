"""Reads what a GGUF file says of itself, without loading the model.

Format: "GGUF", ggml project, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import re
import struct
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING, _ARRAY = 8, 9
_U32, _U64 = _SCALARS[4], _SCALARS[10]
_DEFAULT_ALIGNMENT = 32
_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")
# Arrays with one number for each layer are short; those of a vocabulary are not, and not needed.
_KEPT_NUMBERS = 1024

Value = bool | int | float | str | tuple[int, ...]


class ModelFileError(Exception):
    """The file cannot be used as a model; the text says why and what to do, and names no path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a GGUF file says of itself.

    Attributes:
        architecture: Such as `llama`, `qwen3` or `bert`.
        name: The model's own name, or "".
        context_tokens: Context length it was trained for; 0 if it does not say.
        layers: Its transformer blocks.
        dimensions: Length of its hidden vectors.
        inner_dimensions: Length of the vectors inside its blocks.
        vocabulary: Number of its tokens.
        is_causal: Whether it can generate text; embedding models read in both directions.
        chat_template: How it writes a conversation, or "".
        quantization: Number format of most of its weights, such as `Q8_0`.
        parameters: Number of weights.
        size_bytes: Size of all its files.
        kv_bytes_per_token: Key-value cache one token takes in f16; 0 for models without one.
    """

    architecture: str
    name: str
    context_tokens: int
    layers: int
    dimensions: int
    inner_dimensions: int
    vocabulary: int
    is_causal: bool
    chat_template: str
    quantization: str
    parameters: int
    size_bytes: int
    kv_bytes_per_token: int


@dataclass(frozen=True, slots=True)
class _Tensors:
    parameters: int
    quantization: str
    vocabulary: int
    end: int


class _Cursor:
    """A place in the file that moves on as values are read."""

    def __init__(self, view: mmap.mmap) -> None:
        self._view = view
        self.at = 0

    def scalar(self, form: struct.Struct) -> int | float:
        value: int | float = form.unpack_from(self._view, self.at)[0]
        self.at += form.size
        return value

    def count(self, form: struct.Struct) -> int:
        value = int(self.scalar(form))
        if value > len(self._view):
            raise ModelFileError("the model file is damaged; download it again")
        return value

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._view):
            raise ModelFileError("the model file is cut short; download it again")
        taken = self._view[self.at : end]
        self.at = end
        return taken

    def string(self) -> str:
        return self.take(self.count(_U64)).decode("utf-8", "replace")

    def value(self, kind: int) -> Value | None:
        """Read a value; arrays other than short ones of numbers are skipped and read as None."""
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise ModelFileError("the model file is damaged; download it again")
        return self.scalar(_SCALARS[kind])

    def _array(self) -> tuple[int, ...] | None:
        kind = self.count(_U32)
        count = self.count(_U64)
        if kind in _SCALARS and count <= _KEPT_NUMBERS:
            return tuple(int(self.scalar(_SCALARS[kind])) for _ in range(count))
        if kind in _SCALARS:
            self.at += count * _SCALARS[kind].size
            return None
        for _ in range(count):
            self.value(kind)
        return None


def read_model_info(path: Path) -> ModelInfo:
    """Read the header of a GGUF file and check that all of its weights are there.

    Blocks on the disk for some milliseconds; call it on a thread from asynchronous code.

    Raises:
        ModelFileError: Missing, not a GGUF file, cut short, or without weights.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ModelFileError("the model is not a file; set model to a .gguf file")
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelFileError("the model file is not a GGUF file; set model to a .gguf file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return _read(view, size, _all_parts_bytes(path))
    except FileNotFoundError:
        raise ModelFileError("the model file does not exist; check the model setting") from None
    except (struct.error, RecursionError):
        raise ModelFileError("the model file is cut short; download it again") from None
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise ModelFileError(f"the model file cannot be read: {reason}") from error


def _read(view: mmap.mmap, size: int, all_bytes: int) -> ModelInfo:
    cursor = _Cursor(view)
    cursor.at = 4
    if cursor.scalar(_U32) not in (2, 3):
        raise ModelFileError("the GGUF version of the model file is not 2 or 3; convert it again")
    tensor_count = cursor.count(_U64)
    pairs = [(cursor.string(), cursor.value(cursor.count(_U32))) for _ in range(cursor.count(_U64))]
    metadata = dict(pairs)
    # The first part of a model in several files may hold no weights.
    if tensor_count == 0 and _whole(metadata, "split.count") < 2:
        raise ModelFileError("the model file holds a vocabulary and no weights; use a full model")
    tensors = _read_tensors(cursor, tensor_count, _whole(metadata, "general.alignment"))
    if tensors.end > size:
        raise ModelFileError("the model file is cut short; download it again")
    architecture = _text(metadata, "general.architecture")
    return ModelInfo(
        architecture=architecture,
        name=_text(metadata, "general.name"),
        context_tokens=_whole(metadata, f"{architecture}.context_length"),
        layers=_whole(metadata, f"{architecture}.block_count"),
        dimensions=_whole(metadata, f"{architecture}.embedding_length"),
        inner_dimensions=max(_numbers(metadata, f"{architecture}.feed_forward_length"), default=0),
        vocabulary=tensors.vocabulary,
        is_causal=metadata.get(f"{architecture}.attention.causal") is not False,
        chat_template=_text(metadata, "tokenizer.chat_template"),
        quantization=tensors.quantization,
        parameters=tensors.parameters,
        size_bytes=all_bytes,
        kv_bytes_per_token=_kv_bytes_per_token(metadata, architecture),
    )


def _read_tensors(cursor: _Cursor, count: int, alignment: int) -> _Tensors:
    parameters = vocabulary = end = 0
    weights: Counter[str] = Counter()
    for _ in range(count):
        name = cursor.string()
        shape = [cursor.count(_U64) for _ in range(cursor.count(_U32))]
        if name == "token_embd.weight":
            vocabulary = shape[-1]
        kind = cursor.count(_U32)
        offset = cursor.count(_U64)
        elements = prod(shape)
        parameters += elements
        try:
            quantization = GGMLQuantizationType(kind)
        except ValueError:
            weights[f"type {kind}"] += elements
            continue
        weights[quantization.name] += elements
        block, block_bytes = GGML_QUANT_SIZES[quantization]
        end = max(end, offset + elements // block * block_bytes)
    step = alignment or _DEFAULT_ALIGNMENT
    start = (cursor.at + step - 1) // step * step
    most = weights.most_common(1)[0][0] if weights else ""
    return _Tensors(parameters, most, vocabulary, start + end)


def _all_parts_bytes(path: Path) -> int:
    """Size of a model's file, or of all of them where it comes in several."""
    part = _PART.search(path.name)
    if part is None:
        return path.stat().st_size
    stem, count = path.name[: part.start()], part[1]
    names = [f"{stem}-{number:05}-of-{count}.gguf" for number in range(1, int(count) + 1)]
    return sum(path.with_name(name).stat().st_size for name in names)


def _kv_bytes_per_token(metadata: dict[str, Value | None], architecture: str) -> int:
    """Size of one token's keys and values in f16, over all layers."""

    def read(key: str) -> int:
        return _whole(metadata, f"{architecture}.{key}")

    layers = read("block_count")
    heads = _numbers(metadata, f"{architecture}.attention.head_count")
    kv_heads = _numbers(metadata, f"{architecture}.attention.head_count_kv") or heads
    if not any(heads):
        return 0
    head_size = read("embedding_length") // max(heads)
    keys = read("attention.key_length") or head_size
    values = read("attention.value_length") or head_size
    # One number holds for all layers; else each layer has its own, and some keep no cache.
    kv_heads_in_all = sum(kv_heads[:layers]) if len(kv_heads) > 1 else layers * sum(kv_heads)
    return kv_heads_in_all * (keys + values) * 2


def _text(metadata: dict[str, Value | None], key: str) -> str:
    value = metadata.get(key)
    return value if isinstance(value, str) else ""


def _whole(metadata: dict[str, Value | None], key: str) -> int:
    value = metadata.get(key)
    return value if isinstance(value, int) else 0


def _numbers(metadata: dict[str, Value | None], key: str) -> tuple[int, ...]:
    """Give the numbers of a key that has one, or one for each layer."""
    value = metadata.get(key)
    return value if isinstance(value, tuple) else (value,) if isinstance(value, int) else ()
