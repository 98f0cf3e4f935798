"""What the inference loop asks of a model; `backends.llama_cpp.model` has the real one."""

from collections.abc import Set as AbstractSet
from typing import Protocol

from backends.llama_cpp.model import Rows
from backends.llama_cpp.sampling import LogitRows
from backends.llama_cpp.saved_states import State


class LoopVocab(Protocol):
    """Which tokens end an answer, and what the others stand for."""

    @property
    def endings(self) -> AbstractSet[int]:
        """Tokens that end an answer."""
        ...

    def piece(self, token: int, /) -> bytes:
        """Bytes a token stands for."""
        ...


class LoopModel(Protocol):
    """Computes rows of sequences and keeps their cells."""

    @property
    def slots(self) -> int:
        """Number of sequences."""
        ...

    @property
    def threads(self) -> int:
        """Number of threads it computes with."""
        ...

    @property
    def rows(self) -> Rows:
        """What the next decode computes."""
        ...

    @property
    def vocab(self) -> LoopVocab:
        """Its tokens."""
        ...

    def decode(self, count: int, /) -> None:
        """Compute the first `count` of `rows`."""
        ...

    def logits(self, outputs: int, /) -> LogitRows:
        """Logits of the rows that asked for output, shape `(outputs, vocabulary)`."""
        ...

    def use_threads(self, *, lone: int, many: int) -> None:
        """Set the threads for a decode of one row and for larger ones."""
        ...

    def forget(self, sequence: int, start: int, /) -> bool:
        """Drop a sequence's cells from position `start` on; False if the model cannot."""
        ...

    def copy(self, source: int, target: int, count: int, /) -> bool:
        """Give a sequence the first `count` cells of another; False if the model cannot."""
        ...

    def save(self, sequence: int, /) -> State:
        """Copy a sequence's cells out."""
        ...

    def load(self, sequence: int, state: State, /) -> bool:
        """Fill an empty sequence; False, and still empty, if the state does not fit."""
        ...
