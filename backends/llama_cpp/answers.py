"""One call inside the worker: its prompt, and how far its answer has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from backends.llama_cpp.prompts import Tokens
from backends.llama_cpp.sampling import Chooser
from backends.llama_cpp.text_stream import TextStream


@dataclass(slots=True, kw_only=True, eq=False)
class Answer:
    """A call.

    The cells of prompt and answer are computed in order; an answer that has lost its cells is
    computed again the same way, chunk by chunk and then token by token, so that its cells get
    the same values bit by bit.

    Attributes:
        shown: Texts of control tokens that belong to this answer's text.
        logprobs: How many of the likeliest tokens are told beside each; None tells nothing.
        said: Its tokens so far.
        slot: The sequence that holds its cells, or -1.
        past: Tokens of prompt and answer whose cells are there.
        due: When its prompt is to be read, counted in tokens of prompts that have been read.
        cached: Those of the prompt that did not have to be computed.
        unsaid: Tokens not yet reported with a piece.
    """

    id: int
    prompt: Tokens
    max_tokens: int
    chooser: Chooser
    text: TextStream
    shown: Mapping[int, bytes] = field(default_factory=dict[int, bytes])
    logprobs: int | None = None
    said: list[int] = field(default_factory=list[int])
    slot: int = -1
    past: int = 0
    due: int = 0
    cached: int = 0
    unsaid: int = 0

    @property
    def is_prefilled(self) -> bool:
        """The whole prompt has been computed."""
        return self.past >= len(self.prompt)

    @property
    def is_caught_up(self) -> bool:
        """All it consists of has been computed, so that its next token can be chosen."""
        return self.past == len(self.prompt) + len(self.said)

    def bytes_of(self, token: int, piece: bytes) -> bytes:
        """What a token adds to this answer's text, `piece` being what it adds to any."""
        return self.shown.get(token, piece) if self.shown else piece

    def push(self, token: int, piece: bytes) -> str:
        """Take a token's bytes; give the text that is certain to belong to the answer."""
        return self.text.push(self.bytes_of(token, piece))

    @property
    def next_input(self) -> int:
        """The token of the answer that is to be computed next."""
        return self.said[self.past - len(self.prompt)]
