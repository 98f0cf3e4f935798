"""An answer as it arrives: chunks in, pieces out, and at the end a completion or an error."""

import json
import math
from collections.abc import Mapping
from typing import cast

from backends.errors import BackendError, BackendUnavailableError, IncompleteAnswerError
from backends.messages import (
    Completion,
    FinishReason,
    GenerateRequest,
    JsonObject,
    Piece,
    RequestedCall,
    TokenLogprob,
    Usage,
)
from backends.openai_compatible.failures import from_error_object
from backends.openai_compatible.settings import OpenAISettings
from backends.openai_compatible.text import Cleaner
from backends.openai_compatible.tool_calls import AskedCalls, ToolNames
from backends.text import well_formed

# The API's own reasons, its older name for a tool call, and two that compatible endpoints use.
_REASONS: Mapping[object, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "eos": "stop",
    "model_length": "length",
}
_BYTES_PER_TOKEN = 4
_MESSAGE_OVERHEAD_TOKENS = 4
_MOST_TOKENS = 1_000_000_000
_IMPROBABLE = -9999.0


class Answer:
    """Collects one answer. Without a known reason for its end it is never complete."""

    def __init__(self, settings: OpenAISettings, request: GenerateRequest) -> None:
        self._settings = settings
        self._request = request
        self._cleaner = Cleaner()
        self._texts: list[str] = []
        self._calls = AskedCalls(ToolNames(request))
        self._logprobs: list[TokenLogprob] = []
        self._tokens = 0
        self._reported: JsonObject | None = None
        self._reason: FinishReason | None = None
        self._is_refusal = False
        self._has_chunks = False

    @property
    def has_begun(self) -> bool:
        """Whether the model has generated anything, thoughts included."""
        return self._tokens > 0

    @property
    def is_finished(self) -> bool:
        """Whether the model said why it stopped; at most the usage is still to come."""
        return self._reason is not None

    @property
    def has_reported_usage(self) -> bool:
        """Whether the endpoint said what the answer took; else tokens are estimates."""
        return self._reported is not None

    @property
    def usage(self) -> Usage:
        """What it took so far."""
        reported = self._reported or {}
        prompt = _count(reported.get("prompt_tokens"), _prompt_estimate(self._request))
        cached = _count(_object(reported.get("prompt_tokens_details")).get("cached_tokens"), 0)
        return Usage(
            input_tokens=prompt,
            cached_tokens=min(cached, prompt),
            output_tokens=_count(reported.get("completion_tokens"), self._tokens),
        )

    def take(self, data: str) -> Piece | None:
        """Take the next chunk in; gives its piece, if it has any.

        Raises:
            BackendError: It is no chunk, or the endpoint says in it that it failed.
        """
        chunk = self._parsed(data)
        if chunk.get("error"):
            raise self._failed(chunk["error"])
        self._has_chunks = True
        usage = _object(chunk.get("usage")) or _object(_object(chunk.get("x_groq")).get("usage"))
        if usage:
            self._reported = usage
        choice = _first(chunk.get("choices"))
        self._logprobs += _logprobs(_list(choice.get("logprobs"), "content"))
        piece = self._piece(_object(choice.get("delta")))
        ended = choice.get("finish_reason")
        if ended:
            self._reason = self._known(ended)
        return piece

    def finish(self) -> Piece | None:
        """Give what was held back of the text, if anything was."""
        return self._kept(self._cleaner.finish(), 0)

    def completion(self) -> Completion:
        """Give the complete answer.

        Raises:
            IncompleteAnswerError: The model never said that it was finished.
            BackendUnavailableError: Nothing came at all.
        """
        if self._reason is None:
            raise self.broken("the answer ended before the model said it was finished")
        reason = "content_filter" if self._is_refusal else self._reason
        calls: tuple[RequestedCall, ...] = ()
        # What is cut off or filtered asks for nothing; some endpoints end calls with `stop`.
        if reason == "tool_calls" or (reason == "stop" and self._calls):
            calls, reason = self._asked(), "tool_calls"
        return Completion("".join(self._texts), reason, self.usage, calls, tuple(self._logprobs))

    def broken(self, why: str) -> BackendError:
        """Make the error of an answer that cannot be completed."""
        message = f"core {self._settings.name!r}: {why}"
        if not self._has_chunks:
            return BackendUnavailableError(message)
        return IncompleteAnswerError(message, text="".join(self._texts), usage=self.usage)

    def _asked(self) -> tuple[RequestedCall, ...]:
        try:
            calls = self._calls.asked()
        except ValueError:
            calls = ()
        if not calls:
            raise self.broken("the model asks for tools, but not in a way that can be read")
        return calls

    def _parsed(self, data: str) -> JsonObject:
        try:
            chunk: object = json.loads(data)
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            raise self.broken("its endpoint sent a chunk that is not a JSON object")
        return cast("JsonObject", chunk)

    def _failed(self, error: object) -> BackendError:
        if self.has_begun:
            return self.broken("its endpoint reported an error within the answer")
        return from_error_object(self._settings, error, max_tokens=self._request.max_tokens)

    def _known(self, ended: object) -> FinishReason:
        reason = _REASONS.get(ended) if isinstance(ended, str) else None
        if reason is None:
            raise self.broken("the answer ended for a reason that is not known here")
        return reason

    def _piece(self, delta: JsonObject) -> Piece | None:
        refusal = _text(delta.get("refusal"))
        self._is_refusal = self._is_refusal or bool(refusal)
        text = _text(delta.get("content")) + refusal
        # Thoughts are paid for, but no part of the answer. Their field has two names.
        thought = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning"))
        tokens = _estimate(text) + _estimate(thought) + _estimate(self._written_calls(delta))
        self._tokens += tokens
        return self._kept(self._cleaner.push(text), tokens)

    def _written_calls(self, delta: JsonObject) -> str:
        try:
            return self._calls.take(delta.get("tool_calls"))
        except ValueError:
            raise self.broken("the model asks for more tools than an answer can hold") from None

    def _kept(self, text: str, tokens: int) -> Piece | None:
        if text:
            self._texts.append(text)
        return Piece(text, tokens) if text or tokens else None


def _estimate(text: str) -> int:
    # A piece is at least one token; some endpoints send many tokens in one.
    return max(1, len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN) if text else 0


def _prompt_estimate(request: GenerateRequest) -> int:
    return sum(_estimate(each.text) + _MESSAGE_OVERHEAD_TOKENS for each in request.messages)


def _logprobs(content: list[object]) -> list[TokenLogprob]:
    return [
        TokenLogprob(*_token(each), tuple(_token(other) for other in _list(each, "top_logprobs")))
        for each in content
    ]


def _token(found: object) -> tuple[str, float]:
    """Give a token and its log probability; one that cannot be read counts as improbable."""
    token = _object(found)
    value = token.get("logprob")
    is_known = isinstance(value, int | float) and math.isfinite(value)
    return well_formed(_text(token.get("token"))), cast("float", value) if is_known else _IMPROBABLE


def _list(found: object, key: str) -> list[object]:
    value = _object(found).get(key)
    return cast("list[object]", value) if isinstance(value, list) else []


def _count(value: object, otherwise: int) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return cast("int", value) if is_count else otherwise


def _object(value: object) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def _first(value: object) -> JsonObject:
    return _object(cast("list[object]", value)[0]) if isinstance(value, list) and value else {}


def _text(value: object) -> str:
    """Give the text of a delta's field; a list of parts counts as its parts of type text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [_object(part) for part in cast("list[object]", value)]
        return "".join(_text(part.get("text")) for part in parts if part.get("type") == "text")
    return ""
