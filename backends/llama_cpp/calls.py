"""Open calls to a worker, as the parent process sees them."""

from collections.abc import Mapping

import anyio

from backends.errors import (
    BackendError,
    BackendRefusedError,
    ContextOverflowError,
    SchemaUnsupportedError,
)
from backends.llama_cpp.frames import EndRow, LogprobRow, Progress, Refused, Step
from backends.messages import Piece, TokenLogprob


class Call:
    """What has come for one call and has not been taken yet.

    The reader of the pipe puts and never waits; text that comes while its taker is busy is
    joined, so that a slow taker holds one text, bounded by its own `max_tokens`.

    Attributes:
        end: What it used, when it is done.
        body: Raw bytes it was answered with.
        logprobs: Log probabilities of its tokens so far.
        progress: How far it is, while it is paused.
        is_lost: Its worker has died while it was paused.
    """

    def __init__(self, id: int) -> None:  # noqa: A002 - the word of the protocol
        self.id = id
        self.end: EndRow | None = None
        self.body = b""
        self.logprobs: list[TokenLogprob] = []
        self.progress: Progress | None = None
        self.is_lost = False
        self._error: BackendError | None = None
        self._text = ""
        self._tokens = 0
        self._changed = anyio.Event()
        self._stopped = anyio.Event()

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.end is not None or self._error is not None

    def put(self, text: str, tokens: int) -> None:
        """Add text that was generated."""
        self._text += text
        self._tokens += tokens
        self._changed.set()

    def put_logprob(self, row: LogprobRow) -> None:
        """Add the log probability of a token."""
        likeliest = tuple((text, logprob) for text, logprob in row.likeliest)
        self.logprobs.append(TokenLogprob(row.text, row.logprob, likeliest))

    def finish(self, end: EndRow, body: bytes = b"") -> None:
        """Say that the call is done."""
        self.end = end
        self.body = body
        self._changed.set()
        self._stopped.set()

    def fail(self, error: BackendError) -> None:
        """Say that the call has failed; one that is over stays as it is."""
        if not self.over:
            self._error = error
            self._changed.set()
            self._stopped.set()

    def lose(self, error: BackendError) -> None:
        """Say that the worker has died; a call that stands still goes on in the next one."""
        self.is_lost = self.progress is not None
        if not self.is_lost:
            self.fail(error)

    def stand_still(self, progress: Progress) -> None:
        """Say that the call is paused, and how far it is."""
        self.progress = progress
        self._stopped.set()

    def go_on(self) -> None:
        """Say that the call is under way again."""
        self.progress = None
        self.is_lost = False
        self._stopped = anyio.Event()

    async def stands_still(self) -> bool:
        """Wait until the call is paused; False if it is over instead."""
        await self._stopped.wait()
        return not self.over

    async def take(self) -> Piece | None:
        """Wait for text and take all of it; None when the call is done.

        Raises:
            BackendError: The call failed.
        """
        while not self._text and not self._tokens:
            if self._error is not None:
                raise self._error
            if self.end is not None:
                return None
            await self._changed.wait()
            self._changed = anyio.Event()
        piece = Piece(self._text, self._tokens)
        self._text, self._tokens = "", 0
        return piece


def deliver_step(step: Step, calls: Mapping[int, Call]) -> None:
    """Hand each call what a decode step brought for it."""
    for row in step["logprobs"]:
        if call := calls.get(row[0]):
            call.put_logprob(LogprobRow(*row))
    for id_, text, tokens in step["pieces"]:
        if call := calls.get(id_):
            call.put(text, tokens)
    for ended in step["ends"]:
        end = EndRow(*ended)
        if call := calls.get(end.id):
            call.finish(end)


def refusal_of(event: Refused) -> BackendError:
    """Give the error that a worker's refusal stands for."""
    if event["kind"] == "overflow":
        return ContextOverflowError(wanted=event.get("wanted", 0), limit=event.get("limit", 0))
    if event["kind"] == "schema":
        return SchemaUnsupportedError(event["text"])
    return BackendRefusedError(event["text"])
