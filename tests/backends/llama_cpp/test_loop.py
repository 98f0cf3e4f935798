"""The inference loop over a scripted model, under random calls, pauses, cancellations, crashes."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from backends.llama_cpp.answers import Answer
from backends.llama_cpp.frames import EndRow, Paused, Progress, StateFolder, Step
from backends.llama_cpp.loop import InferenceLoop
from backends.llama_cpp.sampling import Chooser, Sampling
from backends.llama_cpp.saved_states import SavedStates
from backends.llama_cpp.text_stream import TextStream
from tests.backends.llama_cpp.scripted_model import ENDING, ScriptedModel, logits_after

prompts = st.tuples(st.sampled_from([0, 2, 127, 128, 260]), st.integers(1, 4)).map(
    lambda parts: [1] * parts[0] + [parts[1]]
)
samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 1.0]),
    frequency_penalty=st.sampled_from([0.0, 1.0]),
    seed=st.integers(0, 3),
)


class Asked:
    """What a caller asks, and what has come of it."""

    def __init__(self, id: int, prompt: list[int], max_tokens: int, sampling: Sampling) -> None:  # noqa: A002
        self.id = id
        self.prompt = prompt
        self.max_tokens = max_tokens
        self.sampling = sampling
        self.text = ""
        self.end: EndRow | None = None
        self.progress: Progress | None = None

    def answer(self) -> Answer:
        chooser = Chooser(self.sampling, None)
        text = TextStream(())
        said = [] if self.progress is None else self.progress["said"]
        chooser.go_on_after(said)
        for token in said:
            text.push(b"%x" % token)
        return Answer(
            id=self.id,
            prompt=np.array(self.prompt, np.int32),
            max_tokens=self.max_tokens,
            chooser=chooser,
            text=text,
            said=list(said),
        )

    def expected(self) -> str:
        """Its answer as one model without slots would give it."""
        tokens = list(self.prompt)
        chooser = Chooser(self.sampling, None)
        while len(tokens) < len(self.prompt) + self.max_tokens:
            logits = logits_after(tokens)
            token = chooser.choose(logits, int(logits.argmax()))
            if token == ENDING:
                break
            tokens.append(token)
        return "".join(f"{token:x}" for token in tokens[len(self.prompt) :])


class LoopMachine(RuleBasedStateMachine):
    """A caller with many calls, whose worker may die at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        # Room for one short answer in memory and for two long ones on disk.
        self.folders = [
            StateFolder(path=self._folder(name), limit_bytes=limit)
            for name, limit in (("memory", 200), ("disk", 2600))
        ]
        self.calls: dict[int, Asked] = {}
        self.paused: dict[int, Asked] = {}
        self.lost: set[int] = set()
        self.last_id = 0
        self._start(is_recurrent=False)

    def _folder(self, name: str) -> str:
        path = Path(self.directory.name, name)
        path.mkdir()
        return str(path)

    def _start(self, *, is_recurrent: bool) -> None:
        self.is_recurrent = is_recurrent
        self.model = ScriptedModel(2, is_recurrent=is_recurrent)
        self.loop = InferenceLoop(self.model, SavedStates(self.folders), self._take)

    def _take(self, event: Step | Paused) -> None:
        if event["event"] == "paused":
            # As over the pipe: what the loop does later must not show.
            said = list(event["progress"]["said"])
            call = self.calls.pop(event["id"])
            call.progress = Progress(said=said, cached=event["progress"]["cached"])
            self.paused[call.id] = call
            return
        for row in event["pieces"]:
            self.calls[row.id].text += row.text
        for end in event["ends"]:
            call = self.calls.pop(end.id)
            assert call.text == call.expected()
            assert end.output_tokens == len(call.text)
            assert end.input_tokens == len(call.prompt)
            assert 0 <= end.cached_tokens < len(call.prompt)

    def _pick(self, calls: Sequence[int], at: int) -> int | None:
        return calls[at % len(calls)] if calls else None

    @initialize(is_recurrent=st.booleans())
    def choose_model(self, is_recurrent: bool) -> None:
        self._start(is_recurrent=is_recurrent)

    @rule(prompt=prompts, max_tokens=st.integers(1, 60), sampling=samplings)
    def submit(self, prompt: list[int], max_tokens: int, sampling: Sampling) -> None:
        self.last_id += 1
        call = Asked(self.last_id, prompt, max_tokens, sampling)
        self.calls[call.id] = call
        self.loop.submit(call.answer())

    @rule(count=st.integers(1, 8))
    def step(self, count: int) -> None:
        for _ in range(count):
            is_busy = bool(self.calls)
            assert self.loop.step() == is_busy

    @rule(at=st.integers(0, 9))
    def pause(self, at: int) -> None:
        call_id = self._pick(list(self.calls), at)
        if call_id is not None:
            self.loop.pause(call_id)
            assert call_id in self.paused

    @rule(at=st.integers(0, 9), prompt=prompts, sampling=samplings)
    def pause_for_another(self, at: int, prompt: list[int], sampling: Sampling) -> None:
        self.pause(at)
        self.submit(prompt, 40, sampling)
        self.step(6)

    @rule(at=st.integers(0, 9))
    def resume(self, at: int) -> None:
        call_id = self._pick(list(self.paused), at)
        if call_id is None:
            return
        call = self.calls[call_id] = self.paused.pop(call_id)
        if call_id in self.lost:
            self.lost.discard(call_id)
            self.loop.submit(call.answer())
        else:
            self.loop.resume(call_id)

    @rule(at=st.integers(0, 9), which=st.sampled_from(["paused", "open"]))
    def cancel(self, at: int, which: str) -> None:
        calls = self.paused if which == "paused" else self.calls
        call_id = self._pick(list(calls), at)
        if call_id is not None:
            del calls[call_id]
            self.lost.discard(call_id)
            self.loop.cancel(call_id)

    @rule(chance=st.integers(0, 5))
    def crash(self, chance: int) -> None:
        if chance:
            return
        self.calls.clear()
        self.lost = set(self.paused)
        for folder in self.folders:
            for path in Path(folder["path"]).iterdir():
                if int(path.name) not in self.lost:
                    path.unlink()
        self._start(is_recurrent=self.is_recurrent)

    @invariant()
    def only_calls_that_stand_or_wait_have_files(self) -> None:
        known = {str(call_id) for call_id in {*self.paused, *self.calls}}
        for folder in self.folders:
            files = list(Path(folder["path"]).iterdir())
            assert {path.name for path in files} <= known
            assert sum(path.stat().st_size for path in files) <= folder["limit_bytes"]

    def teardown(self) -> None:
        with self.directory:
            while self.paused:
                self.resume(0)
            while self.calls:
                assert self.loop.step(), "a call is neither served nor paused"
            assert not any(list(Path(folder["path"]).iterdir()) for folder in self.folders)
            self._fill_all_slots()

    def _fill_all_slots(self) -> None:
        self.model.most_rows = 0
        for last in range(self.model.slots):
            self.submit([last + 5], 30, Sampling(temperature=1.0, seed=last))
        rows = 0
        while self.calls:
            self.model.most_rows = 0
            self.loop.step()
            rows = max(rows, self.model.most_rows)
        assert rows == self.model.slots, "a slot has leaked"


LoopMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
test_no_call_is_lost_and_no_slot_leaks = LoopMachine.TestCase


def test_control_tokens_that_belong_to_an_answer_are_part_of_its_text() -> None:
    call = Asked(1, [1], 40, Sampling())
    pieces: list[str] = []

    def take(event: Step | Paused) -> None:
        if event["event"] == "step":
            pieces.extend(row.text for row in event["pieces"])

    loop = InferenceLoop(ScriptedModel(1), SavedStates(()), take)
    answer = call.answer()
    answer.shown = {int(call.expected()[0], 16): b"<call>"}
    loop.submit(answer)
    while loop.step():
        pass

    assert "".join(pieces) == call.expected().replace(call.expected()[0], "<call>")


def _order_of_ends(prompts: Sequence[int], *, late: Sequence[int] = ()) -> list[int]:
    """Ids of calls of one token in the order they end; late ones come after the first step."""
    ends: list[int] = []

    def take(event: Step | Paused) -> None:
        if event["event"] == "step":
            ends.extend(end.id for end in event["ends"])

    loop = InferenceLoop(ScriptedModel(8), SavedStates(()), take)
    for at, size in enumerate([*prompts, *late]):
        if at == len(prompts):
            loop.step()
        loop.submit(Asked(at, [at + 5] * size, 1, Sampling()).answer())
    while loop.step():
        pass
    return ends


def test_the_shortest_prompt_is_read_first() -> None:
    assert _order_of_ends([1000, 60, 20]) == [2, 1, 0]


def test_a_short_prompt_does_not_wait_for_a_long_one_that_came_before() -> None:
    assert _order_of_ends([1000], late=[20]) == [1, 0]


def test_a_long_prompt_is_passed_by_no_more_tokens_than_it_has() -> None:
    assert _order_of_ends([300], late=[90, 120, 240, 150]) == [1, 2, 4, 0, 3]


def test_answers_go_on_after_a_chunk_of_one_prompt() -> None:
    model = ScriptedModel(4)
    loop = InferenceLoop(model, SavedStates(()), lambda _event: None)
    loop.submit(Asked(1, [1, 5], 50, Sampling()).answer())
    loop.step()
    for at, size in enumerate([60, 100, 300]):
        loop.submit(Asked(2 + at, [at + 2] * size, 50, Sampling()).answer())

    rows: list[int] = []
    for _ in range(12):
        model.most_rows = 0
        loop.step()
        rows.append(model.most_rows)

    # Whole blocks and the rest of a short prompt fit into one turn.
    assert rows == [1, 60, 2, 64, 36, 3, 128, 3, 128, 3, 44, 4]
