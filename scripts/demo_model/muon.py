"""Muon for the matrices of the network: momentum, made orthogonal, as the step.

Learns from about half as many tokens as AdamW, which is what one CPU thread can afford.
Source: Jordan and others, "Muon: An optimizer for hidden layers in neural networks" (2024). torch
brings one too, which computes in bfloat16: many times slower than float32 on most CPUs.
"""

# torch is no package of the project: install it to train.
# pyright: basic, reportMissingImports=false

from collections.abc import Iterable

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon:
    """Updates two-dimensional weights in place."""

    def __init__(self, weights: Iterable[Tensor], *, momentum: float, decay: float) -> None:
        self._weights = list(weights)
        self._momentum = momentum
        self._decay = decay
        self._buffers = [torch.zeros_like(weight) for weight in self._weights]

    def step(self, rate: float) -> None:
        """Take one step at a learning rate; clears the gradients."""
        with torch.no_grad():
            self._step(rate)

    def _step(self, rate: float) -> None:
        for weight, buffer in zip(self._weights, self._buffers, strict=True):
            assert weight.grad is not None, "step without backward"
            buffer.lerp_(weight.grad, 1 - self._momentum)
            ahead = weight.grad.lerp(buffer, self._momentum)
            scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
            weight.mul_(1 - rate * self._decay)
            weight.add_(orthogonal(ahead), alpha=-rate * scale)
            weight.grad = None


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with singular values near one, by Newton-Schulz iteration."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
