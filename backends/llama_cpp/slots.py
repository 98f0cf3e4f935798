"""The sequences of one context: whose cells each holds, and what can be used again."""

from dataclasses import dataclass, field

import numpy as np

from backends.llama_cpp.answers import Answer
from backends.llama_cpp.loop_model import LoopModel
from backends.llama_cpp.prompts import BLOCK_TOKENS, Tokens, reusable
from backends.llama_cpp.saved_states import SavedStates


def _no_tokens() -> Tokens:
    return np.zeros(0, np.int32)


@dataclass(slots=True)
class _Slot:
    """One sequence; `kept` is the part of a prompt whose cells are there."""

    answer: Answer | None = None
    is_parked: bool = False
    kept: Tokens = field(default_factory=_no_tokens)


class Slots:
    """The slots of one model.

    Invariant: a slot belongs to at most one answer and an answer has at most one slot. A paused
    answer stays in its slot until another needs it; then its cells are saved.
    """

    def __init__(self, model: LoopModel, saved: SavedStates) -> None:
        self._model = model
        self._saved = saved
        self._slots = [_Slot() for _ in range(model.slots)]

    def take(self, answer: Answer) -> bool:
        """Give an answer a slot, with as many of its cells as can be had; False if none is free."""
        if answer.slot >= 0:
            self._slots[answer.slot].is_parked = False
            return True
        free = [at for at, slot in enumerate(self._slots) if slot.answer is None]
        if not free:
            parked = [slot.answer for slot in self._slots if slot.answer and slot.is_parked]
            if not parked:
                return False
            free = [self._evict(min(parked, key=lambda other: other.past))]
        at = max(free, key=lambda slot: self._fitness(slot, answer.prompt))
        self._slots[at].answer = answer
        answer.slot = at
        if not self._restore(answer):
            self._reuse(answer)
        return True

    def park(self, answer: Answer) -> None:
        """Let a paused answer's cells stay where they are until the slot is needed."""
        if answer.slot >= 0:
            self._slots[answer.slot].is_parked = True

    def free(self, answer: Answer) -> None:
        """Take an answer that has ended out of its slot."""
        if answer.slot >= 0:
            self._slots[answer.slot].answer = None
            self._slots[answer.slot].is_parked = False
            answer.slot = -1

    def keep(self, answer: Answer) -> None:
        """Note how much of its prompt an answer's slot holds."""
        self._slots[answer.slot].kept = answer.prompt[: answer.past]

    def share(self, answer: Answer) -> None:
        """Copy the beginning of a prompt from a slot that has more of it.

        Done when the prompt's turn comes, not when it gets its slot: where agents start together
        with one system prompt, the first computes it and the others copy it.
        """
        source = max(range(len(self._slots)), key=lambda at: self._reusable(at, answer.prompt))
        shared = self._reusable(source, answer.prompt)
        # All of a slot's cells are copied: for less than a block that takes longer than computing.
        if shared < answer.past + BLOCK_TOKENS:
            return
        if not self._model.copy(source, answer.slot, shared):
            self._model.forget(answer.slot, 0)
            shared = 0
        answer.past = answer.cached = shared

    def lend_neighbour(self, at: int) -> int | None:
        """An idle slot beside another, emptied for a row of padding; None if both are in use."""
        idle = [
            near
            for near in (at + 1, at - 1)
            if 0 <= near < len(self._slots) and self._slots[near].answer is None
        ]
        if not idle:
            return None
        near = min(idle, key=lambda slot: len(self._slots[slot].kept))
        self._slots[near].kept = _no_tokens()
        self._model.forget(near, 0)
        return near

    def _fitness(self, at: int, prompt: Tokens) -> tuple[int, int, int]:
        """The longest kept prefix wins, then the slot that keeps least, then the lowest.

        A slot that would lose most of what it keeps is left alone: a prefix can be copied from it.
        """
        kept, reused = len(self._slots[at].kept), self._reusable(at, prompt)
        return (reused if 2 * reused >= kept else 0, -kept, -at)

    def _reusable(self, at: int, prompt: Tokens) -> int:
        """Tokens of the prompt that the slot holds, of a prompt, never of an answer.

        An answer's tokens were computed one by one; in whole blocks they would round differently.
        """
        return reusable(self._slots[at].kept, prompt)

    def _reuse(self, answer: Answer) -> None:
        reused = self._reusable(answer.slot, answer.prompt)
        if not self._model.forget(answer.slot, reused):
            # Recurrent models cannot drop a part of a sequence.
            self._model.forget(answer.slot, 0)
            reused = 0
        answer.past = reused
        if not answer.said:
            answer.cached = reused
        self.keep(answer)

    def _evict(self, answer: Answer) -> int:
        """Save a paused answer's cells and free its slot, which keeps what it holds till then."""
        at = answer.slot
        if answer.past:
            self._saved.save(answer.id, answer.past, self._model.save(at))
        self.free(answer)
        return at

    def _restore(self, answer: Answer) -> bool:
        """Load an answer's saved cells into its slot; False if there are none that fit."""
        saved = self._saved.take(answer.id)
        if saved is None:
            return False
        self._model.forget(answer.slot, 0)
        if not self._model.load(answer.slot, saved.state):
            self._slots[answer.slot].kept = _no_tokens()
            return False
        answer.past = saved.past
        self.keep(answer)
        return True
