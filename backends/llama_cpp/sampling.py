"""Chooses the next token from the logits of one sequence."""

import codecs
import ctypes

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.binding import Library, SamplerPtr
from backends.llama_cpp.model import Vocab

TOP_K = 40
"""Only so many most likely tokens are ever sampled from: a nucleus over a whole vocabulary of
150,000 costs milliseconds per token, and beyond these there is next to no probability."""

_TOKEN = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_NEVER = np.float32(-np.inf)

Logits = NDArray[np.float32]


class DeadEndError(Exception):
    """The grammar allows no token of this vocabulary."""


class Constraint:
    """A grammar that the answer must follow, and how far it has come."""

    def __init__(self, library: Library, vocab: Vocab, grammar: str) -> None:
        """Parse the grammar.

        Raises:
            ValueError: llama.cpp does not take the grammar.
        """
        self._library = library
        self._vocab = vocab
        self._sampler: SamplerPtr | None = library.llama_sampler_init_grammar(
            vocab.pointer, grammar.encode(), b"root"
        )
        if not self._sampler:
            self._sampler = None
            raise ValueError("llama.cpp does not take the grammar")
        # Bytes of a character that is not complete yet.
        self._partial = b""

    def allows(self, token: int) -> bool:
        """Whether the answer may go on with this token: far cheaper than `mask`."""
        if token in self._vocab.silent or not self.continues_text(token):
            return False
        row = np.zeros(1, _TOKEN)
        row["id"] = token
        self._apply(row)
        return bool(row["logit"][0] == 0.0)

    def mask(self, logits: Logits) -> Logits:
        """The logits, minus infinity where the answer may not go on so."""
        rows = np.empty(len(logits), _TOKEN)
        rows["id"] = np.arange(len(logits))
        rows["logit"] = logits
        rows["logit"][list(self._vocab.silent)] = _NEVER
        self._apply(rows)
        masked: Logits = rows["logit"].copy()
        return masked

    def continues_text(self, token: int) -> bool:
        """Whether the token's bytes keep the text valid UTF-8, which grammars do not check."""
        try:
            codecs.utf_8_decode(self._partial + self._vocab.piece(token), "strict", False)
        except UnicodeDecodeError:
            return False
        return True

    def accept(self, token: int) -> None:
        """Go on with a token that is allowed; any other would end the process."""
        assert self._sampler is not None, "used after close"
        text = self._partial + self._vocab.piece(token)
        self._partial = text[codecs.utf_8_decode(text, "strict", False)[1] :]
        self._library.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        """Free the grammar."""
        if self._sampler is not None:
            self._library.llama_sampler_free(self._sampler)
            self._sampler = None

    def _apply(self, rows: NDArray[np.void]) -> None:
        assert self._sampler is not None, "used after close"
        address = ctypes.cast(ctypes.c_void_p(rows.ctypes.data), self._library.llama_token_data_p)  # type: ignore[type-var]
        tokens = self._library.llama_token_data_array(address, len(rows), -1, False)
        self._library.llama_sampler_apply(self._sampler, ctypes.byref(tokens))  # type: ignore[arg-type]


class Chooser:
    """Chooses the tokens of one answer: greedy, or from a seeded distribution."""

    def __init__(
        self, *, temperature: float, top_p: float, seed: int, constraint: Constraint | None
    ) -> None:
        self._temperature = temperature
        self._top_p = top_p
        self._random = np.random.default_rng(seed % 2**64) if temperature > 0.0 else None
        self._constraint = constraint

    def choose(self, logits: Logits, likeliest: int) -> int:
        """The next token.

        Args:
            logits: Shape `(vocabulary,)`.
            likeliest: Their argmax, already computed for the whole batch.

        Raises:
            DeadEndError: The constraint leaves nothing to choose.
        """
        if self._constraint is None:
            return self._pick(logits, likeliest)
        # The first choice nearly always fits, and testing one token is a thousand times cheaper
        # than masking the vocabulary.
        token = self._pick(logits, likeliest)
        if not self._constraint.allows(token):
            token = self._pick_allowed(self._constraint, logits)
        self._constraint.accept(token)
        return token

    def close(self) -> None:
        """Free what the answer's choice needed."""
        if self._constraint is not None:
            self._constraint.close()

    def _pick_allowed(self, constraint: Constraint, logits: Logits) -> int:
        masked = constraint.mask(logits)
        while np.isfinite(masked).any():
            token = self._pick(masked, int(masked.argmax()))
            if constraint.continues_text(token):
                return token
            masked[token] = _NEVER
        raise DeadEndError

    def _pick(self, logits: Logits, likeliest: int) -> int:
        if self._random is None:
            return likeliest
        size = min(TOP_K, len(logits))
        some = np.argpartition(logits, -size)[-size:]
        # By logit, then by id: the order must not depend on how the partition left them.
        top: NDArray[np.intp] = some[np.lexsort((some, -logits[some]))]
        scaled = (logits[top].astype(np.float64) - float(logits[top[0]])) / self._temperature
        weights = np.exp(scaled)
        weights /= weights.sum()
        before = np.cumsum(weights) - weights
        weights[before >= self._top_p] = 0.0
        weights[0] = max(weights[0], np.finfo(np.float64).tiny)
        cumulative = np.cumsum(weights)
        drawn = self._random.random() * cumulative[-1]
        return int(top[min(int(np.count_nonzero(cumulative <= drawn)), size - 1)])
