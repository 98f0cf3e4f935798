"""How a prompt is cut for decoding, and how much of one prompt's cells another can use.

ggml's attention works on blocks of 64 rows of a prompt, or on each row of fewer by itself, and
rounds differently. So that a token's cells do not depend on what was cached or runs beside it, the
whole blocks of a prompt are always computed as such, and the rest behind them always row by row.
"""

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.model import CHUNK_TOKENS

Tokens = NDArray[np.int32]

BLOCK_TOKENS = 64


def whole_blocks(size: int) -> int:
    """Tokens of so many that are in whole blocks."""
    return size - size % BLOCK_TOKENS


def chunk_end(start: int, size: int) -> int:
    """Where the chunk ends that begins at `start`, in a prompt of `size` tokens."""
    whole = whole_blocks(size)
    return size if start >= whole else min(whole, start + CHUNK_TOKENS)


def reusable(kept: Tokens, prompt: Tokens) -> int:
    """Tokens of a prompt whose cells are those of a kept one, less at least one to compute."""
    size = min(len(kept), len(prompt) - 1)
    different = np.flatnonzero(kept[:size] != prompt[:size])
    shared = int(different[0]) if len(different) else size
    # Behind the whole blocks of both, each token was and will be computed by itself.
    if shared >= max(whole_blocks(len(kept)), whole_blocks(len(prompt))):
        return shared
    return whole_blocks(shared)
