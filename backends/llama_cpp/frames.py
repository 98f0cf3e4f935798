"""What goes through the pipes between the kernel and a worker: frames of JSON and raw bytes.

Commands go to the worker, events come back. Both ends are this package at one version, so that
a decoded frame is trusted to have the shape its `op` or `event` names.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, NotRequired, TypeAlias, TypedDict, cast

from backends.messages import FinishReason, JsonObject, ToolChoice

MAX_FRAME_BYTES = 64 * 1024 * 1024
_LENGTHS = struct.Struct(">II")
# `json.dumps` would make one for each frame.
_TO_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Mode = Literal["generate", "embed"]
RefusalKind = Literal["overflow", "schema", "refused"]


class StateFolder(TypedDict):
    """A folder for the states of paused answers, and the most bytes they may take there."""

    path: str
    limit_bytes: int


class Start(TypedDict):
    """First command: load the model. A probe decodes a few tokens and ends.

    `states` are the folders for what paused answers leave behind, fastest first.
    """

    op: Literal["start"]
    mode: Mode
    probe: bool
    model: str
    slots: int
    context_tokens: int
    threads: int
    gpu_layers: int
    main_gpu: int
    split_mode: str
    flash_attention: str
    kv_type: str
    extra_buffers: bool
    states: list[StateFolder]


class Progress(TypedDict):
    """How far a paused answer has come: its tokens, and those of its prompt that were cached."""

    said: list[int]
    cached: int


class Submit(TypedDict):
    """Generate an answer, or go on with one that another worker began.

    `messages` and `tools` are in the form that chat templates take.
    """

    op: Literal["submit"]
    id: int
    messages: list[JsonObject]
    tools: list[JsonObject]
    tool_choice: ToolChoice
    max_tokens: int
    temperature: float
    top_p: float
    min_p: float
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int
    stop: list[str]
    schema: JsonObject | None
    logprobs: int | None
    progress: Progress | None


class Embed(TypedDict):
    """Embed texts."""

    op: Literal["embed"]
    id: int
    texts: list[str]


class Cancel(TypedDict):
    """Stop a call and free its slot."""

    op: Literal["cancel"]
    id: int


class Pause(TypedDict):
    """Let a call stand still; answered by `Paused` unless it has ended."""

    op: Literal["pause"]
    id: int


class Resume(TypedDict):
    """Go on with a paused call."""

    op: Literal["resume"]
    id: int


Command: TypeAlias = Start | Submit | Embed | Cancel | Pause | Resume


class Ready(TypedDict):
    """The model is loaded."""

    event: Literal["ready"]
    context_tokens: int
    dimensions: int


class Failed(TypedDict):
    """The model cannot be loaded; the worker ends. `reason` is for people and names no path."""

    event: Literal["failed"]
    reason: str


class Refused(TypedDict):
    """A call that will not be served."""

    event: Literal["refused"]
    id: int
    kind: RefusalKind
    text: str
    wanted: NotRequired[int]
    limit: NotRequired[int]


class PieceRow(NamedTuple):
    """New text of one call, and the tokens it took."""

    id: int
    text: str
    tokens: int


class EndRow(NamedTuple):
    """A call that is finished, and what it used."""

    id: int
    reason: FinishReason
    input_tokens: int
    cached_tokens: int
    output_tokens: int


class LogprobRow(NamedTuple):
    """A token of one call, its log probability, and the likeliest ones beside it."""

    id: int
    text: str
    logprob: float
    likeliest: list[tuple[str, float]]


class Step(TypedDict):
    """All that one decode step brought, for all calls together."""

    event: Literal["step"]
    pieces: list[PieceRow]
    ends: list[EndRow]
    logprobs: list[LogprobRow]


class Paused(TypedDict):
    """A call stands still."""

    event: Literal["paused"]
    id: int
    progress: Progress


class VectorsReady(TypedDict):
    """Embeddings; the frame's body holds `rows` unit vectors, float32, native byte order."""

    event: Literal["vectors"]
    id: int
    rows: int


Event: TypeAlias = Ready | Failed | Refused | Step | Paused | VectorsReady


class FrameError(Exception):
    """The bytes are not a frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame: the JSON head and the raw bytes behind it."""

    head: object
    body: bytes

    def as_command(self) -> Command:
        """The head as a command."""
        return cast("Command", self.head)

    def as_event(self) -> Event:
        """The head as an event."""
        return cast("Event", self.head)


def encode_frame(head: Command | Event, body: bytes = b"") -> bytes:
    """Encode one frame: two lengths (big-endian, 4 bytes each), the head, the body."""
    text = _TO_JSON(head).encode("utf-8", "surrogatepass")
    return _LENGTHS.pack(len(text), len(body)) + text + body


class FrameDecoder:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Take bytes as they arrive; give the frames they complete.

        Raises:
            FrameError: The stream is not made of frames, or one is above `MAX_FRAME_BYTES`.
        """
        self._buffer += chunk
        while (frame := self._cut()) is not None:
            yield frame

    def _cut(self) -> Frame | None:
        if len(self._buffer) < _LENGTHS.size:
            return None
        head_bytes, body_bytes = _LENGTHS.unpack_from(self._buffer)
        end = _LENGTHS.size + head_bytes + body_bytes
        if end > MAX_FRAME_BYTES:
            raise FrameError(f"a frame of {end} bytes is above the cap of {MAX_FRAME_BYTES}")
        if len(self._buffer) < end:
            return None
        body_start = _LENGTHS.size + head_bytes
        text = self._buffer[_LENGTHS.size : body_start]
        body = bytes(self._buffer[body_start:end])
        del self._buffer[:end]
        try:
            head: object = json.loads(text.decode("utf-8", "surrogatepass"))
        except ValueError as error:
            raise FrameError("the head of a frame is not JSON") from error
        return Frame(head, body)
