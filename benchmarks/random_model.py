"""A GGUF of random weights: as much work for llama.cpp as a real model of its size.

It speaks nonsense and never ends an answer, which is what equal work for all needs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType

from backends.llama_cpp.chat import CHATML

_CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_BLOCK = np.dtype([("scale", np.float16), ("weights", np.int8, 32)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a llama-architecture model; the default has 18 million weights."""

    width: int = 512
    layers: int = 4
    heads: int = 8
    feed_forward: int = 1536
    vocabulary: int = 4096
    context: int = 1024


def write_random_model(path: Path, shape: Shape) -> None:
    """Write the model in Q8_0; the same shape gives the same file."""
    writer = GGUFWriter(str(path), "llama")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_vocab_size(shape.vocabulary)
    _add_vocabulary(writer, shape.vocabulary)
    _add_weights(writer, shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: GGUFWriter, size: int) -> None:
    """The 256 bytes, words that no text is made of, and the control tokens of ChatML."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    letters = [chr(byte) if byte in shown else chr(next(spare)) for byte in range(256)]
    words = [f"w{number}" for number in range(size - len(letters) - len(_CONTROL))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*letters, *words, *_CONTROL])
    normal = len(letters) + len(words)
    writer.add_token_types([TokenType.NORMAL] * normal + [TokenType.CONTROL] * len(_CONTROL))
    writer.add_token_merges(["w 0"])
    writer.add_bos_token_id(normal)
    writer.add_eos_token_id(size - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)


def _add_weights(writer: GGUFWriter, shape: Shape) -> None:
    random = np.random.default_rng(7)

    def add(name: str, rows: int, columns: int, silent: int = 0) -> None:
        blocks = np.zeros((rows, columns // 32), _BLOCK)
        # Uniform bytes have a deviation of 73; the product has one of `columns ** -0.5`.
        blocks["scale"] = columns**-0.5 / 73
        blocks["weights"] = random.integers(-127, 128, (rows, columns // 32, 32), np.int8)
        if silent:
            blocks["weights"][-silent:] = 0
        kind = GGMLQuantizationType.Q8_0
        writer.add_tensor(name, blocks.view(np.uint8).reshape(rows, -1), raw_dtype=kind)

    def add_norm(name: str) -> None:
        writer.add_tensor(name, np.ones(shape.width, np.float32))

    width, inner = shape.width, shape.feed_forward
    add("token_embd.weight", shape.vocabulary, width)
    # Control tokens get no weight, so that no answer ends before its limit.
    add("output.weight", shape.vocabulary, width, silent=len(_CONTROL))
    add_norm("output_norm.weight")
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        add_norm(f"{block}attn_norm.weight")
        add_norm(f"{block}ffn_norm.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"{block}{part}.weight", width, width)
        add(f"{block}ffn_gate.weight", inner, width)
        add(f"{block}ffn_up.weight", inner, width)
        add(f"{block}ffn_down.weight", width, inner)
