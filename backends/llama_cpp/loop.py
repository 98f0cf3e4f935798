"""Continuous batching: many answers grow in one context, one decode step after another.

A step computes either one chunk of one prompt, or one token of every answer; the two take turns,
so that a long prompt does not stop the answers that run. Prompts are alone in their decode and
sequences have cells of their own, so that an answer does not depend on what runs beside it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.frames import EndRow, PieceRow, Step
from backends.llama_cpp.model import CHUNK_TOKENS, LoadedModel
from backends.llama_cpp.sampling import Chooser, DeadEndError
from backends.llama_cpp.text_stream import TextStream
from backends.messages import FinishReason

Tokens = NDArray[np.int32]


@dataclass(slots=True, kw_only=True, eq=False)
class Answer:
    """One call: its prompt, and how far its answer has come.

    Attributes:
        past: Tokens whose cells are in the context.
        latest: The newest token, not yet computed.
        unsaid: Tokens not yet reported with a piece.
    """

    id: int
    prompt: Tokens
    max_tokens: int
    chooser: Chooser
    text: TextStream
    slot: int = -1
    past: int = 0
    latest: int = -1
    generated: int = 0
    cached: int = 0
    unsaid: int = 0

    @property
    def prefilled(self) -> bool:
        """Whether the whole prompt has been computed."""
        return self.past >= len(self.prompt)


def _no_tokens() -> Tokens:
    return np.zeros(0, np.int32)


@dataclass(slots=True)
class _Slot:
    """One sequence of the context; `kept` is the part of a prompt whose cells are there."""

    answer: Answer | None = None
    kept: Tokens = field(default_factory=_no_tokens)


class InferenceLoop:
    """All answers of one model. Every method is called on the thread that decodes.

    Invariant: a slot belongs to at most one answer, and an answer leaves its slot in the step
    that ends or follows its cancellation.
    """

    def __init__(self, model: LoadedModel, report: Callable[[Step], None]) -> None:
        self._model = model
        self._report = report
        self._slots = [_Slot() for _ in range(model.slots)]
        self._waiting: deque[Answer] = deque()
        self._answers: list[Answer] = []
        self._prefill_turn = True
        self._pieces: list[PieceRow] = []
        self._ends: list[EndRow] = []

    def submit(self, answer: Answer) -> None:
        """Put an answer in line for a slot."""
        self._waiting.append(answer)

    def cancel(self, id: int) -> None:  # noqa: A002 - the word of the protocol
        """Drop an answer, wherever it is; an unknown id has already ended."""
        for answer in [*self._waiting, *self._answers]:
            if answer.id == id:
                self._release(answer)

    def step(self) -> bool:
        """Do one decode step; False if there is nothing to do."""
        self._admit()
        if not self._answers:
            return False
        reading = [answer for answer in self._answers if not answer.prefilled]
        writing = [answer for answer in self._answers if answer.prefilled]
        if reading and (self._prefill_turn or not writing):
            self._prefill(reading[0])
            self._prefill_turn = False
        else:
            self._generate(writing)
            self._prefill_turn = True
        self._flush()
        return True

    # --- slots ---------------------------------------------------------------------------------

    def _admit(self) -> None:
        while self._waiting:
            free = [at for at, slot in enumerate(self._slots) if slot.answer is None]
            if not free:
                return
            answer = self._waiting.popleft()
            at = max(free, key=lambda slot: self._fitness(slot, answer.prompt))
            self._take_slot(at, answer)

    def _fitness(self, at: int, prompt: Tokens) -> tuple[int, int, int]:
        """The longest kept prefix wins, then the slot that keeps least, then the lowest.

        A slot that would lose most of what it keeps is left alone: a prefix can be copied from it.
        """
        kept, reusable = len(self._slots[at].kept), self._reusable(at, prompt)
        return (reusable if 2 * reusable >= kept else 0, -kept, -at)

    def _take_slot(self, at: int, answer: Answer) -> None:
        reused = self._reusable(at, answer.prompt)
        if not self._model.forget(at, reused):
            # Recurrent models cannot drop a part of a sequence.
            self._model.forget(at, 0)
            reused = 0
        answer.slot = at
        answer.past = answer.cached = reused
        self._slots[at] = _Slot(answer, answer.prompt[:reused])
        self._answers.append(answer)

    def _reusable(self, at: int, prompt: Tokens) -> int:
        """Tokens of the prompt that the slot holds, cut to whole chunks.

        Only prompts are kept, never answers: an answer's cells were computed one by one and may
        differ in their last bits from those of a prompt.
        """
        kept = self._slots[at].kept
        size = min(len(kept), len(prompt) - 1)
        different = np.flatnonzero(kept[:size] != prompt[:size])
        shared = int(different[0]) if len(different) else size
        return shared - shared % CHUNK_TOKENS

    def _release(self, answer: Answer) -> None:
        answer.chooser.close()
        if answer in self._waiting:
            self._waiting.remove(answer)
            return
        self._answers.remove(answer)
        self._slots[answer.slot].answer = None

    def _share(self, answer: Answer) -> None:
        """Copy the beginning of a prompt from a slot that has more of it.

        Done when the prompt's turn comes, not when it gets its slot: where agents start together
        with one system prompt, the first computes it and the others copy it.
        """
        source = max(range(len(self._slots)), key=lambda at: self._reusable(at, answer.prompt))
        shared = self._reusable(source, answer.prompt)
        if shared <= answer.past:
            return
        if not self._model.copy(source, answer.slot, shared):
            self._model.forget(answer.slot, 0)
            shared = 0
        answer.past = answer.cached = shared

    # --- steps ---------------------------------------------------------------------------------

    def _prefill(self, answer: Answer) -> None:
        if answer.past == answer.cached:
            self._share(answer)
        start = answer.past
        end = min(len(answer.prompt), start - start % CHUNK_TOKENS + CHUNK_TOKENS)
        count = end - start
        rows = self._model.rows
        rows.token[:count] = answer.prompt[start:end]
        rows.position[:count] = np.arange(start, end)
        rows.sequence[:count] = answer.slot
        rows.output[:count] = 0
        rows.output[count - 1] = end == len(answer.prompt)
        self._model.use_threads(lone=self._model.threads, many=self._model.threads)
        self._model.decode(count)
        answer.past = end
        self._slots[answer.slot].kept = answer.prompt[:end]
        if answer.prefilled:
            self._advance([answer])

    def _generate(self, writing: list[Answer]) -> None:
        writing = sorted(writing, key=lambda answer: answer.slot)
        computed = self._with_padding(writing)
        rows = self._model.rows
        for row, (slot, answer) in enumerate(computed):
            rows.token[row] = 0 if answer is None else answer.latest
            rows.position[row] = 0 if answer is None else answer.past
            rows.sequence[row] = slot
            rows.output[row] = answer is not None
        self._model.decode(len(computed))
        for answer in writing:
            answer.past += 1
        self._advance(writing)

    def _with_padding(self, writing: list[Answer]) -> list[tuple[int, Answer | None]]:
        """Slots to compute, with an idle neighbour beside each lone one.

        With several threads ggml rounds one row by itself otherwise than the same row among
        others, and llama.cpp computes sequences together only if their numbers are consecutive.
        Where there is no idle neighbour, a lone row gets one thread, which rounds the same.
        """
        wanted: dict[int, Answer | None] = {answer.slot: answer for answer in writing}
        if self._model.threads == 1:
            return list(wanted.items())
        lone = self._model.threads
        for at in list(wanted):
            if at - 1 in wanted or at + 1 in wanted:
                continue
            idle = [
                near
                for near in (at + 1, at - 1)
                if 0 <= near < len(self._slots) and self._slots[near].answer is None
            ]
            if idle:
                near = min(idle, key=lambda slot: len(self._slots[slot].kept))
                self._slots[near] = _Slot()
                self._model.forget(near, 0)
                wanted[near] = None
            else:
                lone = 1
        self._model.use_threads(lone=lone, many=self._model.threads)
        return sorted(wanted.items())

    def _advance(self, answers: list[Answer]) -> None:
        """Choose the next token of each answer; logits come in the order of the rows."""
        logits = self._model.logits(len(answers))
        likeliest: list[int] = logits.argmax(axis=1).tolist()
        for row, answer in enumerate(answers):
            try:
                token = answer.chooser.choose(logits[row], likeliest[row])
            except DeadEndError:
                self._end(answer, "length")
                continue
            self._take(answer, token)

    def _take(self, answer: Answer, token: int) -> None:
        if token in self._model.vocab.endings:
            self._end(answer, "stop")
            return
        answer.latest = token
        answer.generated += 1
        answer.unsaid += 1
        text = answer.text.push(self._model.vocab.piece(token))
        if text:
            self._say(answer, text)
        if answer.text.stopped:
            self._end(answer, "stop")
        elif answer.generated >= answer.max_tokens:
            self._end(answer, "length")

    def _say(self, answer: Answer, text: str) -> None:
        self._pieces.append(PieceRow(answer.id, text, answer.unsaid))
        answer.unsaid = 0

    def _end(self, answer: Answer, reason: FinishReason) -> None:
        rest = answer.text.finish()
        if rest or answer.unsaid:
            self._say(answer, rest)
        self._ends.append(
            EndRow(answer.id, reason, len(answer.prompt), answer.cached, answer.generated)
        )
        self._release(answer)

    def _flush(self) -> None:
        if self._pieces or self._ends:
            self._report(Step(event="step", pieces=self._pieces, ends=self._ends))
            self._pieces, self._ends = [], []
