"""Making the table: each token through the full model, decorrelated, weighted and quantised.

Source of the method: Model2Vec (Minish Lab, 2024), with the weights of Arora et al., A Simple but
Tough-to-Beat Baseline for Sentence Embeddings, 2017.
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends.embedding.weights import Weights
from scripts.static_embedder.encoder import encode

DIMENSIONS = 256
"""Principal components that are kept; all 384 gained less than a hundredth in agreement."""

_WHITENING = 0.5
"""Power of a component's spread that it is divided by: 0 leaves components as they are."""

_SMOOTHING = 1e-4
"""Share of all text at which a token has half of its weight."""

_FIRST_WORD = 1996
"""Before it stand special tokens and single characters; from it on, words by their frequency."""

_BATCH = 256


def distill(weights: Weights, target: Path) -> int:
    """Write the table to `target`; gives its size in bytes. Takes a minute or two."""
    vectors = _decorrelated(_token_vectors(weights))
    scales = _token_weights(weights.vocabulary)
    largest = np.abs(vectors).max(axis=1)
    rows = np.rint(vectors * (127 / largest)[:, None]).astype(np.int8)
    rows[scales == 0] = 0
    content = io.BytesIO()
    np.savez(
        content,
        rows=rows,
        scales=(scales * largest / 127).astype(np.float32),
        vocabulary=np.frombuffer("\n".join(weights.vocabulary).encode(), np.uint8),
    )
    return target.write_bytes(content.getvalue())


def _token_vectors(weights: Weights) -> NDArray[np.float32]:
    first, last = weights.vocabulary.index("[CLS]"), weights.vocabulary.index("[SEP]")
    sequences = [(first, token, last) for token in range(len(weights.vocabulary))]
    return np.concatenate(
        [encode(weights, sequences[at : at + _BATCH]) for at in range(0, len(sequences), _BATCH)]
    )


def _decorrelated(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = vectors - vectors[_FIRST_WORD:].mean(axis=0)
    _, spreads, components = np.linalg.svd(centred[_FIRST_WORD:], full_matrices=False)
    turned: NDArray[np.float32] = centred @ components[:DIMENSIONS].T
    turned /= spreads[:DIMENSIONS] ** _WHITENING
    return turned


def _token_weights(vocabulary: tuple[str, ...]) -> NDArray[np.float64]:
    # By Zipf's law the share of a token is the inverse of its rank.
    ranks = np.maximum(np.arange(len(vocabulary)) - _FIRST_WORD, 0) + 2
    shares = 1 / ranks
    shares /= shares[_FIRST_WORD:].sum()
    result = _SMOOTHING / (_SMOOTHING + shares)
    result[[not _has_meaning(token) for token in vocabulary]] = 0
    return result


def _has_meaning(token: str) -> bool:
    is_special = len(token) > 2 and token.startswith("[") and token.endswith("]")
    return not is_special and any(map(str.isalnum, token))
