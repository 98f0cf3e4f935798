"""The full model in numpy, float32: what the table is distilled from, and a reference for tests."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backends.embedding.weights import Weights

Array = NDArray[np.float32]


def encode(weights: Weights, batch: Sequence[Sequence[int]]) -> Array:
    """Embed token sequences of one length, special tokens included; gives unit vectors."""
    ids = np.asarray(batch)
    count, length = ids.shape
    state: Array = (
        weights.tensors["embeddings.word_embeddings.weight"][ids]
        + weights.tensors["embeddings.position_embeddings.weight"][:length]
        + weights.tensors["embeddings.token_type_embeddings.weight"][0]
    )
    state = _norm(weights, "embeddings.LayerNorm", state.reshape(count * length, -1))
    for number in range(weights.layers):
        name = f"encoder.layer.{number}."
        mixed = _attend(weights, name + "attention.", state, count)
        state = _norm(weights, name + "attention.output.LayerNorm", state + mixed)
        inner = _gelu(_linear(weights, name + "intermediate.dense", state))
        outer = _linear(weights, name + "output.dense", inner)
        state = _norm(weights, name + "output.LayerNorm", state + outer)
    mean: Array = state.reshape(count, length, -1).mean(axis=1)
    unit: Array = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return unit


def _attend(weights: Weights, name: str, state: Array, count: int) -> Array:
    def heads(part: str) -> Array:
        flat = _linear(weights, f"{name}self.{part}", state)
        split = flat.reshape(count, -1, weights.heads, flat.shape[-1] // weights.heads)
        return split.transpose(0, 2, 1, 3)

    query, key, value = heads("query"), heads("key"), heads("value")
    scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(query.shape[-1]))
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ value
    return _linear(weights, name + "output.dense", mixed.transpose(0, 2, 1, 3).reshape(state.shape))


def _linear(weights: Weights, name: str, inputs: Array) -> Array:
    return inputs @ weights.tensors[name + ".weight"].T + weights.tensors[name + ".bias"]


def _norm(weights: Weights, name: str, inputs: Array) -> Array:
    centred = inputs - inputs.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + weights.norm_epsilon)
    scaled: Array = centred / spread
    return scaled * weights.tensors[name + ".weight"] + weights.tensors[name + ".bias"]


def _gelu(inputs: Array) -> Array:
    """Apply x · Φ(x), with erf to 1.5e-7 (Abramowitz and Stegun, 7.1.26)."""
    x = np.abs(inputs) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * x)
    series = np.full_like(t, 1.061405429)
    for term in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(term)
    erf = np.copysign(1 - series * t * np.exp(-x * x), inputs)
    gelu: Array = (0.5 * inputs * (1 + erf)).astype(np.float32)
    return gelu
