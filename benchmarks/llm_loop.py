"""How much of the inference loop's time is not spent in the decode call.

Processor time of the one thread, so that other work on the machine does not count.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from backends.llama_cpp.answers import Answer
from backends.llama_cpp.binding import load_library
from backends.llama_cpp.frames import Event, Start, encode_frame
from backends.llama_cpp.loop import InferenceLoop
from backends.llama_cpp.machine import read_machine
from backends.llama_cpp.model import LoadedModel
from backends.llama_cpp.sampling import Chooser, Sampling
from backends.llama_cpp.saved_states import SavedStates
from backends.llama_cpp.settings import LlamaSettings
from backends.llama_cpp.starting import start_command
from backends.llama_cpp.text_stream import TextStream
from benchmarks.figures import Figure

PROMPT_TOKENS = 16


class _TimedModel(LoadedModel):
    """A model that counts the processor time of its decode calls."""

    decode_seconds = 0.0

    def decode(self, count: int) -> None:
        started = time.thread_time()
        super().decode(count)
        self.decode_seconds += time.thread_time() - started


def loop_cost(model: Path, *, quick: bool) -> list[Figure]:
    """Measure the share of the loop's time outside the decode call, with 8 and 16 agents.

    The loop runs here as in a worker, up to the bytes that go through the pipe.
    """
    figures: list[Figure] = []
    for agents in (8, 16):
        loaded = _TimedModel(load_library(), load_command(model, agents), lambda _line: None)
        try:
            figures.append(_measure(loaded, agents, new_tokens=64 if quick else 256))
        finally:
            loaded.close()
    return figures


def _measure(model: _TimedModel, agents: int, *, new_tokens: int) -> Figure:
    sent: list[int] = []
    _run(model, agents, 8, lambda _event: None)
    model.decode_seconds = 0.0
    started = time.thread_time()
    _run(model, agents, new_tokens, lambda event: sent.append(len(encode_frame(event))))
    seconds = time.thread_time() - started
    outside = seconds - model.decode_seconds
    tokens = agents * new_tokens
    return Figure(
        name=f"inference loop, {agents} agents: processor time outside the decode call",
        value=100 * outside / seconds,
        unit="%",
        bar=2.0,
        peer=f"{1e6 * outside / tokens:.0f} us of {1e6 * seconds / tokens:,.0f} us per token",
    )


def _run(model: LoadedModel, agents: int, tokens: int, report: Callable[[Event], None]) -> None:
    loop = InferenceLoop(model, SavedStates(()), report)
    random = np.random.default_rng(3)
    for agent in range(agents):
        loop.submit(
            Answer(
                id=agent,
                prompt=random.integers(97, 122, PROMPT_TOKENS, np.int32),
                max_tokens=tokens,
                chooser=Chooser(Sampling(), None),
                text=TextStream(()),
            )
        )
    while loop.step():
        pass


def load_command(model: Path, slots: int) -> Start:
    """The command that loads a model as a worker does, with one thread."""
    settings = LlamaSettings(
        model=model, name=model.stem, slots=slots, context_tokens=512, threads=1
    )
    command = start_command(settings, "generate", read_machine(), ())
    command["extra_buffers"] = False
    return command
