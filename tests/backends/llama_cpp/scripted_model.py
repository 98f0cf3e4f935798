"""A model for the inference loop whose next token is a digest of all tokens before it.

A cell that is missing, stale or in the wrong place changes every later token.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.model import CHUNK_TOKENS, Rows
from backends.llama_cpp.sampling import LogitRows

VOCABULARY = 16
ENDING = 0


class ScriptedVocab:
    endings = frozenset({ENDING})

    def piece(self, token: int) -> bytes:
        return b"%x" % token


class ScriptedModel:
    """Keeps the tokens themselves as cells; `is_recurrent` forgets all of a sequence or nothing."""

    threads = 1

    def __init__(self, slots: int, *, is_recurrent: bool = False) -> None:
        self.slots = slots
        self.vocab = ScriptedVocab()
        size = max(slots, CHUNK_TOKENS)
        self.rows = Rows(
            token=np.zeros(size, np.int32),
            position=np.zeros(size, np.int32),
            sequence=np.zeros(size, np.int32),
            output=np.zeros(size, np.int8),
        )
        self.most_rows = 0
        self._is_recurrent = is_recurrent
        self._cells: list[list[int]] = [[] for _ in range(slots)]
        self._logits: list[NDArray[np.float32]] = []

    def decode(self, count: int) -> None:
        self._logits = []
        self.most_rows = max(self.most_rows, count)
        for row in range(count):
            cells = self._cells[int(self.rows.sequence[row])]
            assert self.rows.position[row] == len(cells), "cells are computed in order"
            cells.append(int(self.rows.token[row]))
            if self.rows.output[row]:
                self._logits.append(logits_after(cells))

    def logits(self, outputs: int) -> LogitRows:
        assert len(self._logits) == outputs
        return np.stack(self._logits)

    def use_threads(self, *, lone: int, many: int) -> None:
        del lone, many

    def forget(self, sequence: int, start: int) -> bool:
        if self._is_recurrent and 0 < start < len(self._cells[sequence]):
            return False
        del self._cells[sequence][start:]
        return True

    def copy(self, source: int, target: int, count: int) -> bool:
        self._cells[target] = list(self._cells[source])
        return self.forget(target, count)

    def save(self, sequence: int) -> NDArray[np.uint8]:
        return np.array(self._cells[sequence], np.int32).view(np.uint8)

    def load(self, sequence: int, state: NDArray[np.uint8]) -> bool:
        assert not self._cells[sequence], "only an empty sequence is filled"
        self._cells[sequence] = state.view(np.int32).tolist()
        return True


def logits_after(tokens: Sequence[int]) -> NDArray[np.float32]:
    seed = crc32(np.array(tokens, np.int32).tobytes())
    logits = np.random.default_rng(seed).standard_normal(VOCABULARY).astype(np.float32) * 2
    logits[ENDING] -= 2
    return logits
