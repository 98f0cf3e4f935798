"""Small GGUF models of random weights: real for llama.cpp, made in milliseconds."""

from pathlib import Path

import numpy as np
from gguf import GGUFWriter, PoolingType, TokenType

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def _byte_tokens() -> list[str]:
    """The 256 tokens of a byte-level BPE without merges."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(spare)) for byte in range(256)]


def write_language_model(
    path: Path,
    *,
    template: str | None = CHATML,
    context_tokens: int = 1024,
    weights: bool = True,
    control: tuple[str, ...] = CONTROL,
) -> Path:
    """A llama-architecture model over bytes; it never ends an answer of its own accord."""
    size, layers, heads, hidden = 128, 2, 4, 256
    tokens = [*_byte_tokens(), *control]
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(context_tokens)
    writer.add_embedding_length(size)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(size // heads)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.NORMAL] * 256 + [TokenType.CONTROL] * len(control))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(258)
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)
    random = np.random.default_rng(7)

    def add(name: str, *shape: int) -> None:
        scale = 1.0 if len(shape) == 1 else shape[-1] ** -0.5
        values = random.standard_normal(shape) * scale if len(shape) > 1 else np.ones(shape)
        if name == "output.weight":
            values[256:] = 0.0
        writer.add_tensor(name, values.astype(np.float32))

    if weights:
        add("token_embd.weight", len(tokens), size)
        add("output.weight", len(tokens), size)
        add("output_norm.weight", size)
        for layer in range(layers):
            block = f"blk.{layer}."
            add(f"{block}attn_norm.weight", size)
            add(f"{block}ffn_norm.weight", size)
            for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
                add(f"{block}{part}.weight", size, size)
            add(f"{block}ffn_gate.weight", hidden, size)
            add(f"{block}ffn_up.weight", hidden, size)
            add(f"{block}ffn_down.weight", size, hidden)
    _write(writer)
    return path


def write_embedding_model(path: Path) -> Path:
    """A BERT of one layer over single letters, with mean pooling."""
    size, hidden = 32, 64
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(97, 123)]
    tokens = [*words, *(f"\u2581{letter}" for letter in letters), *letters]
    writer = GGUFWriter(path, "bert")
    writer.add_name("tiny-bert")
    writer.add_context_length(64)
    writer.add_embedding_length(size)
    writer.add_feed_forward_length(hidden)
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.MEAN)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL] * 5 + [TokenType.NORMAL] * (len(tokens) - 5))
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    random = np.random.default_rng(11)

    def add(name: str, *shape: int) -> None:
        values = random.standard_normal(shape) * 0.3
        writer.add_tensor(name, values.astype(np.float32))

    def add_norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(size, np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(size, np.float32))

    add("token_embd.weight", len(tokens), size)
    add("token_types.weight", 2, size)
    add("position_embd.weight", 64, size)
    add_norm("token_embd_norm")
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        add(f"blk.0.{part}.weight", size, size)
        add(f"blk.0.{part}.bias", size)
    add_norm("blk.0.attn_output_norm")
    add("blk.0.ffn_up.weight", hidden, size)
    add("blk.0.ffn_up.bias", hidden)
    add("blk.0.ffn_down.weight", size, hidden)
    add("blk.0.ffn_down.bias", size)
    add_norm("blk.0.layer_output_norm")
    _write(writer)
    return path


def _write(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
