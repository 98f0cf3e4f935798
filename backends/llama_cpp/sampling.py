"""Chooses the next token from the logits of one sequence."""

import codecs
import ctypes
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.binding import Library, SamplerPtr
from backends.llama_cpp.model import Vocab

TOP_K = 40
"""Only so many most likely tokens are ever sampled from: a nucleus over a whole vocabulary of
150,000 costs milliseconds per token, and beyond these there is next to no probability."""

_TOKEN = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_NEVER = np.float32(-np.inf)
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf]")
_LEAST_LOGPROB = -9999.0

Logits = NDArray[np.float32]
"""One value for each token of the vocabulary."""

LogitRows = NDArray[np.float32]
"""Logits of several sequences, shape `(sequences, vocabulary)`."""


class DeadEndError(Exception):
    """The grammar allows no token of this vocabulary."""


class Constraint:
    """A grammar that the answer must follow, and how far it has come."""

    def __init__(
        self, library: Library, vocab: Vocab, grammar: str, shown: Collection[int] = ()
    ) -> None:
        """Parse the grammar; of the control tokens only those shown may be in the answer.

        Raises:
            ValueError: llama.cpp does not take the grammar.
        """
        self._library = library
        self._vocab = vocab
        self._silent = vocab.silent - set(shown)
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
        if token in self._silent or not self.continues_text(token):
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
        rows["logit"][list(self._silent)] = _NEVER
        self._apply(rows)
        masked: Logits = rows["logit"].copy()
        return masked

    def continues_text(self, token: int) -> bool:
        """Whether the token's bytes keep the text valid UTF-8, which grammars do not check."""
        text = self._partial + self._vocab.piece(token)
        try:
            codecs.utf_8_decode(text, "strict", False)
        except UnicodeDecodeError:
            return False
        # Half of a surrogate passes for unfinished, but nothing can finish it.
        return _SURROGATE.search(text) is None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen; see `backends.messages.GenerateRequest`. Temperature 0.0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 0

    @property
    def penalises(self) -> bool:
        """Tokens of the answer so far change the choice of the next."""
        penalties = (self.repeat_penalty, self.presence_penalty, self.frequency_penalty)
        return penalties != (1.0, 0.0, 0.0)


class Chooser:
    """Chooses the tokens of one answer: greedy, or from a seeded distribution.

    Each token takes the same number of draws, whatever it was chosen from, so that a chooser that
    is told the tokens of an answer goes on exactly like the one that chose them.
    """

    def __init__(self, sampling: Sampling, constraint: Constraint | None) -> None:
        self._sampling = sampling
        self._constraint = constraint
        self._random = np.random.default_rng(sampling.seed % 2**64)
        self._draws = 0 if sampling.temperature <= 0.0 else 1 if constraint is None else 2
        self._said: Counter[int] = Counter()

    def choose(self, logits: Logits, likeliest: int) -> int:
        """The next token.

        Args:
            logits: Shape `(vocabulary,)`.
            likeliest: Their argmax, already computed for the whole batch.

        Raises:
            DeadEndError: The constraint leaves nothing to choose.
        """
        if self._said:
            logits = self._penalise(logits)
            likeliest = int(logits.argmax())
        token = likeliest if not self._draws else self._draw(logits, _top(logits, TOP_K))
        # The first choice nearly always fits, and testing one token is a thousand times cheaper
        # than masking the vocabulary.
        if self._constraint is not None:
            spare = self._random.random() if self._draws else 0.0
            if not self._constraint.allows(token):
                token = self._choose_allowed(self._constraint, logits, spare)
            self._constraint.accept(token)
        if self._sampling.penalises:
            self._said[token] += 1
        return token

    def go_on_after(self, tokens: Sequence[int]) -> None:
        """Take tokens that another chooser of the same request has chosen."""
        self._random.random(self._draws * len(tokens))
        if self._constraint is not None:
            for token in tokens:
                self._constraint.accept(token)
        if self._sampling.penalises:
            self._said.update(tokens)

    def close(self) -> None:
        """Free what the answer's choice needed."""
        if self._constraint is not None:
            self._constraint.close()

    def _penalise(self, logits: Logits) -> Logits:
        sampling = self._sampling
        tokens = np.fromiter(self._said, np.intp)
        times = np.fromiter(self._said.values(), np.float32)
        some = logits[tokens]
        some = np.where(some > 0, some / sampling.repeat_penalty, some * sampling.repeat_penalty)
        changed = logits.copy()
        changed[tokens] = (
            some - sampling.presence_penalty - np.float32(sampling.frequency_penalty) * times
        )
        return changed

    def _choose_allowed(self, constraint: Constraint, logits: Logits, drawn: float) -> int:
        masked = constraint.mask(logits)
        while True:
            top = _top(masked, TOP_K)
            top = top[np.isfinite(masked[top])]
            if not len(top):
                raise DeadEndError
            whole = [token for token in top.tolist() if constraint.continues_text(token)]
            if whole:
                return self._draw(masked, np.array(whole), drawn) if self._draws else whole[0]
            masked[top] = _NEVER

    def _draw(self, logits: Logits, top: NDArray[np.intp], drawn: float | None = None) -> int:
        """Draw one of the likeliest tokens, which come likeliest first."""
        drawn = self._random.random() if drawn is None else drawn
        sampling = self._sampling
        scaled = (logits[top].astype(np.float64) - float(logits[top[0]])) / sampling.temperature
        weights = np.exp(scaled)
        weights /= weights.sum()
        before = np.cumsum(weights) - weights
        weights[(before >= sampling.top_p) | (weights < sampling.min_p * weights[0])] = 0.0
        weights[0] = max(weights[0], np.finfo(np.float64).tiny)
        cumulative = np.cumsum(weights)
        at = int(np.count_nonzero(cumulative <= drawn * cumulative[-1]))
        return int(top[min(at, len(top) - 1)])


def log_probabilities(logits: Logits, token: int, count: int) -> list[tuple[int, float]]:
    """Natural log probabilities before temperature and limits: a token's, then the likeliest."""
    peak = float(logits.max())
    total = peak + float(np.log(np.exp(logits - peak).sum(dtype=np.float64)))
    tokens = [token, *_top(logits, count).tolist()]
    return [(of, max(float(logits[of]) - total, _LEAST_LOGPROB)) for of in tokens]


def _top(logits: Logits, count: int) -> NDArray[np.intp]:
    """The likeliest tokens, by logit and then by id, whatever order a partition leaves them in."""
    rest = max(len(logits) - count, 0)
    some = np.argpartition(logits, min(rest, len(logits) - 1))[rest:]
    top: NDArray[np.intp] = some[np.lexsort((some, -logits[some]))]
    return top
