"""Writing a checkpoint as the GGUF that ships: Q8_0 matrices, float norms."""

# torch is no package of the project: install it to train.
# pyright: basic, reportMissingImports=false

import os
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants

from scripts.demo_model import tokenizer
from scripts.demo_model.network import Shape
from scripts.demo_model.train import CHECKPOINT

CONTEXT_TOKENS = 2048
_BLOCK_MATRICES = (
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
)


def export(work: Path, target: Path) -> int:
    """Write the checkpoint of `work` to `target`; gives its size in bytes."""
    saved = torch.load(work / CHECKPOINT, weights_only=True)
    shape = Shape(**saved["shape"])
    vocabulary = tokenizer.Vocabulary(tuple(saved["tokens"]), tuple(saved["merges"]))
    partial = target.with_suffix(".part")
    writer = GGUFWriter(str(partial), "llama")
    _add_description(writer, shape)
    tokenizer.add_to(writer, vocabulary)
    _add_weights(writer, shape, saved["weights"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(partial, target)
    return target.stat().st_size


def _add_description(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_name("aios-demo")
    writer.add_description(
        "The bundled demonstration model of aios-mcp, trained on its own stories"
    )
    writer.add_license("apache-2.0")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(7)  # mostly Q8_0


def _add_weights(writer: GGUFWriter, shape: Shape, weights: dict[str, torch.Tensor]) -> None:
    _add_matrix(writer, "token_embd.weight", weights["token_embd.weight"])
    _add_vector(writer, "output_norm.weight", weights["output_norm.weight"])
    for layer in range(shape.layers):
        theirs, ours = f"blk.{layer}.", f"blocks.{layer}."
        for name in ("attn_norm.weight", "ffn_norm.weight"):
            _add_vector(writer, theirs + name, weights[ours + name])
        for name in _BLOCK_MATRICES:
            _add_matrix(writer, f"{theirs}{name}.weight", weights[f"{ours}{name}.weight"])


def _add_matrix(writer: GGUFWriter, name: str, weight: torch.Tensor) -> None:
    kind = GGMLQuantizationType.Q8_0
    writer.add_tensor(name, quants.quantize(weight.float().numpy(), kind), raw_dtype=kind)


def _add_vector(writer: GGUFWriter, name: str, weight: torch.Tensor) -> None:
    writer.add_tensor(name, weight.float().numpy().astype(np.float32))
