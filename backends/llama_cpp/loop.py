"""Continuous batching: many answers grow in one context, one decode step after another.

A step computes either one chunk of one prompt, or one token of every answer. After at most
`CHUNK_TOKENS` of one prompt the answers have their turn, so that prompts do not stop them. Prompts
are alone in their decode and sequences have cells of their own, so that an answer does not depend
on what runs beside it.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from backends.llama_cpp.answers import Answer
from backends.llama_cpp.frames import EndRow, LogprobRow, Paused, PieceRow, Progress, Step
from backends.llama_cpp.loop_model import LoopModel
from backends.llama_cpp.model import CHUNK_TOKENS
from backends.llama_cpp.prompts import chunk_end
from backends.llama_cpp.sampling import DeadEndError, Logits, log_probabilities
from backends.llama_cpp.saved_states import SavedStates
from backends.llama_cpp.slots import Slots
from backends.messages import FinishReason


class InferenceLoop:
    """All answers of one model. Every method is called on the thread that decodes, between steps.

    Invariant: an answer waits, runs or is paused until it ends or is cancelled, and then holds no
    slot and no file (`tests/backends/llama_cpp/test_loop.py`).
    """

    def __init__(
        self, model: LoopModel, saved: SavedStates, report: Callable[[Step | Paused], None]
    ) -> None:
        self._model = model
        self._saved = saved
        self._report = report
        self._slots = Slots(model, saved)
        self._waiting: deque[Answer] = deque()
        self._answers: list[Answer] = []
        self._paused: dict[int, Answer] = {}
        # Tokens of prompts that were ever read, and of one since the answers had a turn.
        self._read = self._read_in_turn = 0
        self._reader: Answer | None = None
        self._pieces: list[PieceRow] = []
        self._ends: list[EndRow] = []
        self._logprobs: list[LogprobRow] = []

    def submit(self, answer: Answer) -> None:
        """Put an answer in line for a slot."""
        self._waiting.append(answer)

    def cancel(self, id: int) -> None:  # noqa: A002 - the word of the protocol
        """Drop an answer, wherever it is, and what it left in files.

        An unknown id has ended, or stood still when the worker before this one died.
        """
        answer = self._paused.pop(id, None) or self._take_out(id)
        if answer is None:
            self._saved.drop(id)
        else:
            self._release(answer)

    def pause(self, id: int) -> None:  # noqa: A002 - the word of the protocol
        """Let an answer stand still and report how far it is; an unknown id has already ended."""
        answer = self._take_out(id)
        if answer is None:
            return
        self._slots.park(answer)
        self._paused[id] = answer
        progress = Progress(said=answer.said, cached=answer.cached)
        self._report(Paused(event="paused", id=id, progress=progress))

    def resume(self, id: int) -> None:  # noqa: A002 - the word of the protocol
        """Go on with a paused answer: in its slot, or in line for one."""
        answer = self._paused.pop(id, None)
        if answer is None:
            return
        if answer.slot < 0:
            self._waiting.append(answer)
        else:
            self._slots.take(answer)
            self._admit(answer)

    def step(self) -> bool:
        """Do one decode step; False if there is nothing to do."""
        while self._waiting and self._slots.take(self._waiting[0]):
            self._admit(self._waiting.popleft())
        if not self._answers:
            return False
        reading = [answer for answer in self._answers if not answer.is_prefilled]
        writing = [answer for answer in self._answers if answer.is_prefilled]
        first = min(reading, key=lambda answer: answer.due, default=None)
        if first is not None and (not writing or self._has_turn(first)):
            self._prefill(first)
        else:
            self._generate(writing)
            self._read_in_turn, self._reader = 0, None
        self._flush()
        return True

    def _admit(self, answer: Answer) -> None:
        """Let an answer in that has a slot.

        The shortest prompt is read first, but one that is passed by shorter ones waits for no more
        tokens than it has itself.
        """
        answer.due = self._read + len(answer.prompt) - answer.past
        self._answers.append(answer)

    def _has_turn(self, answer: Answer) -> bool:
        """Whether the next chunk of its prompt is to be read before the answers go on.

        One prompt at a time: agents whose prompts were read in one turn would end together and
        ask again together, and each would wait for the others.
        """
        count = chunk_end(answer.past, len(answer.prompt)) - answer.past
        return self._reader is None or (
            self._reader is answer and self._read_in_turn + count <= CHUNK_TOKENS
        )

    def _take_out(self, id: int) -> Answer | None:  # noqa: A002 - the word of the protocol
        for line in (self._waiting, self._answers):
            for answer in line:
                if answer.id == id:
                    line.remove(answer)
                    return answer
        return None

    def _release(self, answer: Answer) -> None:
        answer.chooser.close()
        self._slots.free(answer)
        self._saved.drop(answer.id)

    # --- steps ---------------------------------------------------------------------------------

    def _prefill(self, answer: Answer) -> None:
        if answer.past == answer.cached:
            self._slots.share(answer)
        start = answer.past
        end = chunk_end(start, len(answer.prompt))
        count = end - start
        rows = self._model.rows
        rows.token[:count] = answer.prompt[start:end]
        rows.position[:count] = np.arange(start, end)
        rows.sequence[:count] = answer.slot
        rows.output[:count] = 0
        rows.output[count - 1] = end == len(answer.prompt)
        self._model.use_threads(lone=1, many=self._model.threads)
        self._model.decode(count)
        self._read += count
        self._read_in_turn += count
        self._reader = answer
        answer.past = end
        self._slots.keep(answer)
        if answer.is_prefilled:
            self._advance([answer])

    def _generate(self, writing: list[Answer]) -> None:
        writing = sorted(writing, key=lambda answer: answer.slot)
        computed = self._with_padding(writing)
        count = len(computed)
        rows = self._model.rows
        rows.token[:count] = [answer.next_input if answer else 0 for _, answer in computed]
        rows.position[:count] = [answer.past if answer else 0 for _, answer in computed]
        rows.sequence[:count] = [slot for slot, _ in computed]
        rows.output[:count] = [answer is not None for _, answer in computed]
        self._model.decode(count)
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
            neighbour = self._slots.lend_neighbour(at)
            if neighbour is None:
                lone = 1
            else:
                wanted[neighbour] = None
        self._model.use_threads(lone=lone, many=self._model.threads)
        return sorted(wanted.items())

    def _advance(self, answers: list[Answer]) -> None:
        """Choose the next token of each answer; logits come in the order of the rows."""
        logits = self._model.logits(len(answers))
        likeliest: list[int] = logits.argmax(axis=1).tolist()
        for row, answer in enumerate(answers):
            if not answer.is_caught_up:
                continue
            own = logits[row]
            try:
                token = answer.chooser.choose(own, likeliest[row])
            except DeadEndError:
                self._end(answer, "length")
                continue
            self._take(answer, token, own)

    def _take(self, answer: Answer, token: int, logits: Logits) -> None:
        if token in self._model.vocab.endings:
            self._end(answer, "stop")
            return
        answer.said.append(token)
        answer.unsaid += 1
        if answer.logprobs is not None:
            self._tell_logprob(answer, token, logits, answer.logprobs)
        text = answer.push(token, self._model.vocab.piece(token))
        if text:
            self._say(answer, text)
        if answer.text.stopped:
            self._end(answer, "stop")
        elif len(answer.said) >= answer.max_tokens:
            self._end(answer, "length")

    def _tell_logprob(self, answer: Answer, token: int, logits: Logits, count: int) -> None:
        def text(of: int) -> str:
            return answer.bytes_of(of, self._model.vocab.piece(of)).decode("utf-8", "replace")

        chosen, *likeliest = log_probabilities(logits, token, count)
        self._logprobs.append(
            LogprobRow(
                answer.id, text(token), chosen[1], [(text(of), value) for of, value in likeliest]
            )
        )

    def _say(self, answer: Answer, text: str) -> None:
        self._pieces.append(PieceRow(answer.id, text, answer.unsaid))
        answer.unsaid = 0

    def _end(self, answer: Answer, reason: FinishReason) -> None:
        rest = answer.text.finish()
        if rest or answer.unsaid:
            self._say(answer, rest)
        self._ends.append(
            EndRow(answer.id, reason, len(answer.prompt), answer.cached, len(answer.said))
        )
        self._answers.remove(answer)
        self._release(answer)

    def _flush(self) -> None:
        if self._pieces or self._ends or self._logprobs:
            step = Step(event="step", pieces=self._pieces, ends=self._ends, logprobs=self._logprobs)
            self._report(step)
            self._pieces, self._ends, self._logprobs = [], [], []
