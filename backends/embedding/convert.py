"""all-MiniLM-L6-v2 as a GGUF file that llama.cpp runs: BERT, WordPiece, mean pooling, Q8_0."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backends.embedding.weights import Weights, read_minilm

if TYPE_CHECKING:
    from gguf import GGUFWriter

_OUTSIDE_LAYERS = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
_INSIDE_LAYERS = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
# llama.cpp adds rows of these to the input, which it does in float only.
_KEPT_IN_FLOAT = ("position_embd.weight", "token_types.weight")


def convert_minilm(target: Path) -> None:
    """Write the model to `target` (25 MB); the file is there whole or not at all.

    Raises:
        BackendUnavailableError: The weights are not installed; the text says how to get them.
        OSError: The file cannot be written.
    """
    weights = read_minilm()
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    try:
        _write(weights, partial)
        Path(partial).chmod(0o644)  # a temporary file is readable by its owner only
        os.replace(partial, target)
    finally:
        Path(partial).unlink(missing_ok=True)


def _write(weights: Weights, path: str) -> None:
    from gguf import GGUFWriter  # takes 0.3 s, and nothing else here needs it

    writer = GGUFWriter(path, "bert")
    _add_shape(writer, weights)
    _add_vocabulary(writer, weights.vocabulary)
    _add_tensors(writer, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: "GGUFWriter", weights: Weights) -> None:
    from gguf import LlamaFileType, PoolingType

    positions, width = weights.tensors["embeddings.position_embeddings.weight"].shape
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_context_length(positions)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(len(weights.tensors["encoder.layer.0.intermediate.dense.bias"]))
    writer.add_block_count(weights.layers)
    writer.add_head_count(weights.heads)
    writer.add_layer_norm_eps(weights.norm_epsilon)
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.MEAN)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)


def _add_vocabulary(writer: "GGUFWriter", vocabulary: Iterable[str]) -> None:
    from gguf import TokenType

    ids = {token: number for number, token in enumerate(vocabulary)}
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    texts: list[bytes] = []
    types: list[int] = []
    for token in ids:
        is_unused = token.startswith("[unused") and token.endswith("]")
        if token in special or is_unused:
            texts.append(token.encode())
            types.append(TokenType.UNUSED if is_unused else TokenType.CONTROL)
        else:
            # llama.cpp marks the start of a word where WordPiece marks its continuation.
            is_inside = token.startswith("##") and len(token) > 2
            texts.append((token[2:] if is_inside else "\u2581" + token).encode())
            types.append(TokenType.NORMAL)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(texts)
    writer.add_token_types(types)
    writer.add_token_type_count(2)
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_mask_token_id(ids["[MASK]"])
    writer.add_bos_token_id(ids["[CLS]"])
    writer.add_eos_token_id(ids["[SEP]"])
    writer.add_sep_token_id(ids["[SEP]"])


def _add_tensors(writer: "GGUFWriter", weights: Weights) -> None:
    from gguf import GGMLQuantizationType, quants

    for theirs, tensor in weights.tensors.items():
        name = _name(theirs)
        if name is None:
            continue  # the pooler, which sentence embeddings do not use
        if tensor.ndim == 1 or name in _KEPT_IN_FLOAT:
            writer.add_tensor(name, np.ascontiguousarray(tensor))
        else:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quants.quantize(tensor, kind), raw_dtype=kind)


def _name(theirs: str) -> str | None:
    if not theirs.startswith("encoder.layer."):
        return _OUTSIDE_LAYERS.get(theirs)
    _, _, layer, rest = theirs.split(".", 3)
    part, _, end = rest.rpartition(".")
    return f"blk.{layer}.{_INSIDE_LAYERS[part]}.{end}"
