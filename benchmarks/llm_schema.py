"""What it costs to hold answers to a JSON Schema, with a vocabulary of 150,000 tokens.

Both ways give the same tokens: the model of random numbers is changed so that it counts `[1,1,1`,
as a trained model writes what it is asked for. Its work is that of any model of its size.
"""

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from gguf import GGUFReader

from backends.llama_cpp.answers import Answer
from backends.llama_cpp.binding import Library, load_library
from backends.llama_cpp.frames import Paused, Step
from backends.llama_cpp.grammar import schema_to_gbnf
from backends.llama_cpp.loop import InferenceLoop
from backends.llama_cpp.model import LoadedModel
from backends.llama_cpp.sampling import Chooser, Constraint, Sampling
from backends.llama_cpp.saved_states import SavedStates
from backends.llama_cpp.text_stream import TextStream
from backends.messages import JsonObject
from benchmarks.figures import Figure
from benchmarks.llm_loop import load_command
from benchmarks.random_model import Shape, write_random_model

VOCABULARY = 151_936
AGENTS = 8
SCHEMA: JsonObject = {"type": "array", "items": {"type": "integer"}}
_NEWLINE, _COMMA, _ONE, _OPEN = (ord(letter) for letter in "\n,1[")


def schema_cost(*, quick: bool) -> list[Figure]:
    """Measure the processor time of the same answers, held to a schema and free."""
    library = load_library()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "counting.gguf"
        write_counting_model(path)
        model = LoadedModel(library, load_command(path, AGENTS), lambda _line: None)
        grammar = schema_to_gbnf(SCHEMA)
        rounds = [
            (_seconds(library, model, ""), _seconds(library, model, grammar))
            for _ in range(2 if quick else 9)
        ]
        model.close()
    free = median(seconds for seconds, _ in rounds)
    return [
        Figure(
            name=f"JSON Schema, {AGENTS} agents, 151,936 tokens: time held to it / free",
            value=median(held / seconds for seconds, held in rounds),
            unit="x",
            bar=1.05,
            peer=f"free: {1000 * free:,.0f} ms of processor time; the same tokens",
        )
    ]


def write_counting_model(path: Path) -> None:
    """Write a model that answers `[1,1,1` until its limit."""
    write_random_model(path, Shape(vocabulary=VOCABULARY))
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(path, "r+").tensors}
    for name, data in tensors.items():
        # Without what layers add, a token's own embedding decides what follows it.
        if name.endswith(("attn_output.weight", "ffn_down.weight")):
            data[:] = 0
    embeddings, outputs = tensors["token_embd.weight"], tensors["output.weight"]
    embeddings[_COMMA] = embeddings[_OPEN]
    for token, following in ((_NEWLINE, _OPEN), (_OPEN, _ONE), (_ONE, _COMMA)):
        outputs[following] = embeddings[token]
    assert isinstance(outputs, np.memmap)
    outputs.flush()


def _seconds(library: Library, model: LoadedModel, grammar: str, tokens: int = 40) -> float:
    """Processor time of a wave of answers, which are checked to be as they should."""
    texts: dict[int, str] = dict.fromkeys(range(AGENTS), "")
    loop = InferenceLoop(model, SavedStates(()), lambda event: _collect(event, texts))
    for agent in range(AGENTS):
        constraint = Constraint(library, model.vocab, grammar) if grammar else None
        loop.submit(
            Answer(
                id=agent,
                prompt=np.array([_NEWLINE], np.int32),
                max_tokens=tokens,
                chooser=Chooser(Sampling(), constraint),
                text=TextStream(()),
            )
        )
    started = time.thread_time()
    while loop.step():
        pass
    seconds = time.thread_time() - started
    assert set(texts.values()) == {("[" + "1," * tokens)[:tokens]}, "not the work that was meant"
    return seconds


def _collect(event: Step | Paused, texts: dict[int, str]) -> None:
    if event["event"] == "step":
        for row in event["pieces"]:
            texts[row.id] += row.text
