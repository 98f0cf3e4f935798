"""The network: a llama-architecture transformer small enough to train on one CPU thread."""

# torch is no package of the project: install it to train.
# pyright: basic, reportMissingImports=false
# mypy: disallow_subclassing_any=False

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of the network; the embedding is tied to the output."""

    vocabulary: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 384
    context: int = 512
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads


class Norm(nn.Module):
    """Root mean square norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.width))
        self.epsilon = shape.norm_epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        mean = x.float().pow(2).mean(-1, keepdim=True)
        return x * torch.rsqrt(mean + self.epsilon) * self.weight


class Block(nn.Module):
    """Attention with rotary positions and grouped heads, then a gated feed-forward layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv_width = shape.head_width * shape.kv_heads
        self.attn_norm, self.ffn_norm = Norm(shape), Norm(shape)
        self.attn_q = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_k = nn.Linear(shape.width, kv_width, bias=False)
        self.attn_v = nn.Linear(shape.width, kv_width, bias=False)
        self.attn_output = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_gate = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.ffn_down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Map `(batch, time, width)` to the same shape."""
        h = self.attn_norm(x)
        q = _rotate(self._heads(self.attn_q(h)), cosine, sine)
        k = _rotate(self._heads(self.attn_k(h)), cosine, sine)
        v = self._heads(self.attn_v(h))
        group = self.shape.heads // self.shape.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(mixed.transpose(1, 2).flatten(2))
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.shape.head_width)).transpose(1, 2)


class Network(nn.Module):
    """Token ids `(batch, time)` to logits `(batch, time, vocabulary)`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = Norm(shape)
        half = torch.arange(0, shape.head_width, 2).float() / shape.head_width
        angles = torch.outer(torch.arange(shape.context).float(), shape.rope_base**-half)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, 0.0, _spread(name, weight))

    def forward(self, tokens: Tensor) -> Tensor:
        """Give the logits of the next token at each place."""
        time = tokens.shape[1]
        cosine, sine = self.get_buffer("cosine")[:time], self.get_buffer("sine")[:time]
        x = self.token_embd(tokens)
        for block in self.blocks:
            x = block(x, cosine, sine)
        return F.linear(self.output_norm(x), self.token_embd.weight)


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    # llama.cpp's llama architecture rotates neighbours, not halves.
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1).flatten(-2)


def _spread(name: str, weight: Tensor) -> float:
    if "token_embd" in name:
        return 0.02
    residual = 0.5 if name.endswith(("attn_output.weight", "ffn_down.weight")) else 1.0
    return float(weight.shape[1] ** -0.5 * residual)
