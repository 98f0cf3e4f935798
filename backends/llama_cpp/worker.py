"""The worker process: one model, commands in on stdin, events out on stdout.

Started by `backends.llama_cpp.process` as `python -m backends.llama_cpp.worker`. It ends when its
stdin closes. A reader thread decodes commands and prepares prompts; the main thread decodes.
"""

import ctypes
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import NoReturn

import numpy as np

from backends.errors import BackendRefusedError, ContextOverflowError, SchemaUnsupportedError
from backends.llama_cpp.binding import Library, LibraryError, load_library
from backends.llama_cpp.desk import Desk
from backends.llama_cpp.frames import (
    Command,
    Embed,
    Event,
    Failed,
    FrameDecoder,
    Ready,
    RefusalKind,
    Refused,
    Start,
    VectorsReady,
    encode_frame,
)
from backends.llama_cpp.loop import InferenceLoop
from backends.llama_cpp.model import LoadedModel, LoadError
from backends.llama_cpp.saved_states import SavedStates

EXIT_FAILED = 3
PROBE_TOKENS = 8
_READ_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1


class Pipes:
    """The process's two pipes, taken away from everything else in the process."""

    def __init__(self) -> None:
        self._in = os.dup(0)
        self._out = os.dup(1)
        # Whatever a library prints must not end up between the frames.
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        # Both threads send; a frame must not be cut by another.
        self._sending = threading.Lock()
        self.commands = self._read_commands()

    def send(self, event: Event, body: bytes = b"") -> None:
        """Write one event."""
        left = memoryview(encode_frame(event, body))
        with self._sending:
            while left:
                left = left[os.write(self._out, left) :]

    def _read_commands(self) -> Iterator[Command]:
        """Read commands until the other end closes."""
        decoder = FrameDecoder()
        while chunk := os.read(self._in, _READ_BYTES):
            for frame in decoder.feed(chunk):
                yield frame.as_command()


class Inbox:
    """Work that the reader thread hands to the main thread."""

    def __init__(self) -> None:
        self._work: deque[Callable[[], None]] = deque()
        self._filled = threading.Event()

    def put(self, work: Callable[[], None]) -> None:
        """Hand over; the parent bounds how many calls are open."""
        self._work.append(work)
        self._filled.set()

    def run(self) -> None:
        """Do what has been handed over."""
        while self._work:
            self._work.popleft()()

    def wait(self) -> None:
        """Wait until something is handed over; the process ends first if the parent is gone."""
        self._filled.wait()
        self._filled.clear()


def refusal(id: int, error: BackendRefusedError) -> Refused:  # noqa: A002 - the word of the protocol
    """The event that tells the parent why a call is not served."""
    if isinstance(error, ContextOverflowError):
        return Refused(
            event="refused",
            id=id,
            kind="overflow",
            text=str(error),
            wanted=error.wanted,
            limit=error.limit,
        )
    kind: RefusalKind = "schema" if isinstance(error, SchemaUnsupportedError) else "refused"
    return Refused(event="refused", id=id, kind=kind, text=str(error))


def serve_answers(
    pipes: Pipes, library: Library, model: LoadedModel, states: SavedStates
) -> NoReturn:
    """Generate answers until the parent is gone."""
    loop = InferenceLoop(model, states, pipes.send)
    desk = Desk(library, model)
    inbox = Inbox()
    acts = {"cancel": loop.cancel, "pause": loop.pause, "resume": loop.resume}

    def read(command: Command) -> None:
        if command["op"] == "submit":
            try:
                answer = desk.prepare(command)
            except BackendRefusedError as error:
                pipes.send(refusal(command["id"], error))
            except Exception:  # noqa: BLE001 - one bad call must not end those of others
                traceback.print_exc()
                failed = BackendRefusedError("the request could not be prepared; see the log")
                pipes.send(refusal(command["id"], failed))
            else:
                inbox.put(lambda: loop.submit(answer))
        elif command["op"] == "cancel" or command["op"] == "pause" or command["op"] == "resume":
            act, call_id = acts[command["op"]], command["id"]
            inbox.put(lambda: act(call_id))

    _start_reader(pipes, read)
    while True:
        inbox.run()
        if not loop.step():
            inbox.wait()


def serve_vectors(pipes: Pipes, model: LoadedModel) -> NoReturn:
    """Embed texts until the parent is gone, one text per decode: packed ones are slower."""
    inbox = Inbox()
    cancelled: set[int] = set()

    def embed(call: Embed) -> None:
        vectors: list[bytes] = []
        for text in call["texts"]:
            if call["id"] in cancelled:
                cancelled.discard(call["id"])
                return
            vectors.append(_unit_vector(model, text).tobytes())
        event = VectorsReady(event="vectors", id=call["id"], rows=len(vectors))
        pipes.send(event, b"".join(vectors))

    def read(command: Command) -> None:
        if command["op"] == "embed":
            inbox.put(lambda: embed(command))
        elif command["op"] == "cancel":
            call_id = command["id"]
            cancelled.add(call_id)
            inbox.put(lambda: cancelled.discard(call_id))

    _start_reader(pipes, read)
    while True:
        inbox.run()
        inbox.wait()


def _unit_vector(model: LoadedModel, text: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    tokens = model.vocab.tokenize_whole(text)
    limit = min(model.context_tokens, model.batch_rows)
    if len(tokens) > limit:
        # The last token closes the text; the model was trained with it.
        tokens = [*tokens[: limit - 1], tokens[-1]]
    vector = model.embed(tokens) if tokens else np.zeros(model.dimensions, np.float32)
    length = float(np.linalg.norm(vector))
    unit = np.zeros(model.dimensions, np.float32)
    if length > 0.0 and np.isfinite(length):
        unit[:] = vector / length
    else:
        # Nothing to say: some fixed direction keeps the promise of unit vectors.
        unit[0] = 1.0
    return unit


def _start_reader(pipes: Pipes, read: Callable[[Command], None]) -> None:
    def run() -> None:
        code = EXIT_FAILED
        try:
            for command in pipes.commands:
                read(command)
            code = 0
        except BrokenPipeError:
            code = 0
        except Exception:  # noqa: BLE001 - a reader that has died must take the process with it
            traceback.print_exc()
        # The parent is gone or nothing reads commands any more: a decode that runs is of no use.
        os._exit(code)

    threading.Thread(target=run, name="commands", daemon=True).start()


def _die_with_parent() -> None:
    """Ask Linux to end this process when its parent dies, even if the pipe stays open."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _probe(model: LoadedModel) -> None:
    """Decode a few tokens: with a miscompiled llama.cpp this ends the process by a signal."""
    model.rows.output[: PROBE_TOKENS - 1] = 0
    model.rows.output[PROBE_TOKENS - 1] = 1
    model.rows.token[:PROBE_TOKENS] = 0
    model.rows.position[:PROBE_TOKENS] = np.arange(PROBE_TOKENS)
    model.rows.sequence[:PROBE_TOKENS] = 0
    model.decode(PROBE_TOKENS)


def _load(pipes: Pipes, start: Start) -> tuple[Library, LoadedModel]:
    try:
        library = load_library()
        model = LoadedModel(library, start, _log)
    except (LibraryError, LoadError) as error:
        pipes.send(Failed(event="failed", reason=str(error)))
        sys.exit(EXIT_FAILED)
    return library, model


def _log(text: str) -> None:
    os.write(2, text.encode("utf-8", "replace"))


def main() -> None:
    """Run the worker."""
    pipes = Pipes()
    _die_with_parent()
    # The parent handles Ctrl-C and closes this process's stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Short calls into llama.cpp release the GIL; waiting 5 ms to get it back would double a step.
    sys.setswitchinterval(0.0005)
    start = next(pipes.commands, None)
    if start is None:
        return
    assert start["op"] == "start", "the first command says what to load"
    library, model = _load(pipes, start)
    if start["probe"]:
        _probe(model)
        return
    ready = Ready(event="ready", context_tokens=model.context_tokens, dimensions=model.dimensions)
    pipes.send(ready)
    if start["mode"] == "embed":
        serve_vectors(pipes, model)
    serve_answers(pipes, library, model, SavedStates(start["states"]))


if __name__ == "__main__":
    main()
