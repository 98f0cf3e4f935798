"""What an endpoint's failures mean here. Texts are for people; of a body, they show little."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import cast

import aiohttp
import httpx2
import openai

from backends.errors import (
    BackendError,
    BackendRefusedError,
    BackendTimeoutError,
    BackendUnavailableError,
    ContextOverflowError,
)
from backends.messages import JsonObject
from backends.openai_compatible.settings import OpenAISettings
from backends.text import well_formed

# The client passes on what its transport raises while it reads an error's body.
TRANSPORT_ERRORS = (
    openai.APIConnectionError,
    httpx2.RequestError,
    httpx2.StreamError,
    aiohttp.ClientError,
    OSError,
)

_MAX_REASON = 200
_MAX_RETRY_AFTER_SECONDS = 3600.0
_LIKE_A_SECRET = re.compile(
    r"(?i)\b(?:bearer\s+|(?:sk|pk|gsk|xai|org|proj|key)[-_]|AIza)[\w.*-]{8,}"
)
_HINTS = {
    "max_completion_tokens": 'set max_tokens_field = "max_completion_tokens" for it',
    "response_format": "set schema_output = false for it if its endpoint takes no JSON Schema",
}
_OVERFLOW = re.compile(
    r"(?i)context.length|context.size|context window|maximum context|prompt is too long"
)
_WANTED = re.compile(r"(?i)(?:requested|resulted in|contains|has|long:)\D{0,24}(\d{1,9})\b")
_LIMIT = re.compile(r"(?i)(?:context[ _](?:length|size|window)\D{0,24}|> )(\d{1,9})\b")


class CredentialRefusedError(BackendUnavailableError):
    """The endpoint does not serve the API key; the text says what to do about it."""


class EndpointBusyError(BackendUnavailableError):
    """The endpoint asks to be left alone for a while."""


def from_status(
    settings: OpenAISettings, error: openai.APIStatusError, *, max_tokens: int
) -> BackendError:
    """Say what a response other than 200 means."""
    is_json = "json" in error.response.headers.get("content-type", "")
    return _from_code(
        settings,
        error.status_code,
        _error_object(error.body) if is_json else {},
        max_tokens=max_tokens,
        retry_after=_retry_after_seconds(error.response.headers),
    )


def from_error_object(settings: OpenAISettings, error: object, *, max_tokens: int) -> BackendError:
    """Say what an error inside a stream means."""
    found = _error_object(error)
    code = found.get("code")
    is_status = isinstance(code, int) and 400 <= code < 600
    kind = f"{code} {found.get('type')}"
    status = code if is_status else 429 if "rate_limit" in kind else 500
    assert isinstance(status, int)
    return _from_code(settings, status, found, max_tokens=max_tokens, retry_after=None)


def from_transport(settings: OpenAISettings, error: BaseException) -> BackendError:
    """Say what a broken connection means, or one that was silent for too long."""
    # The aiohttp transport calls every lost connection a time-out; its causes know better.
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, TimeoutError):
        cause = cause.__cause__
    if cause is not None:
        return BackendTimeoutError(
            f"core {settings.name!r}: its endpoint could not be reached within"
            f" {settings.connect_deadline_seconds:g} s, or was silent for"
            f" {settings.idle_deadline_seconds:g} s"
        )
    return BackendUnavailableError(
        f"core {settings.name!r}: no connection to its endpoint, or it was lost;"
        " see that base_url is right and the endpoint runs"
    )


def rejects_stream_options(error: openai.APIStatusError) -> bool:
    """Whether an endpoint refused a request because it does not know `stream_options`."""
    body = _error_object(error.body)
    return error.status_code in {400, 422} and "stream_options" in str(body)


def _from_code(
    settings: OpenAISettings,
    status: int,
    error: JsonObject,
    *,
    max_tokens: int,
    retry_after: float | None,
) -> BackendError:
    core = f"core {settings.name!r}"
    if status in {401, 402, 403} or error.get("code") == "insufficient_quota":
        return _credential(settings, status, error)
    if status == 429 or (status >= 500 and retry_after is not None):
        return EndpointBusyError(
            f"{core}: its endpoint is busy (HTTP {status}); try again later or use another core",
            retry_after_seconds=retry_after,
        )
    if 300 <= status < 400:
        return BackendUnavailableError(
            f"{core}: its endpoint sends requests elsewhere (HTTP {status}), which is not followed"
            " so that the key stays here; set base_url to the final address"
        )
    if status in {408, 409, 425} or status >= 500:
        return BackendUnavailableError(f"{core}: its endpoint failed (HTTP {status})")
    return _refused(settings, status, error, max_tokens)


def _credential(settings: OpenAISettings, status: int, error: JsonObject) -> BackendError:
    core = f"core {settings.name!r}"
    if "flagged_input" in str(error.get("metadata")):
        return BackendRefusedError(f"{core}: its endpoint's moderation refused the messages")
    if status == 401:
        return CredentialRefusedError(
            f"{core}: its endpoint refuses the API key (HTTP 401); set a valid api_key"
        )
    if status == 403:
        return CredentialRefusedError(
            f"{core}: its API key may not use model {settings.model!r} here (HTTP 403);"
            " grant it access or set another api_key"
        )
    return CredentialRefusedError(
        f"{core}: the account of its API key has no credit left (HTTP {status}); top it up"
    )


def _refused(
    settings: OpenAISettings, status: int, error: JsonObject, max_tokens: int
) -> BackendError:
    reason = _reason(settings, error)
    says = f": {reason}" if reason else ""
    core = f"core {settings.name!r}"
    if _OVERFLOW.search(f"{error.get('code')} {error.get('type')} {reason}"):
        return _overflow(settings, error, max_tokens) or BackendRefusedError(
            f"{core}: prompt and answer do not fit its context;"
            f" shorten the messages or lower max_tokens{says}"
        )
    if status == 404:
        return BackendRefusedError(
            f"{core}: its endpoint has no model {settings.model!r}, or base_url is wrong"
            f" (HTTP 404){says}"
        )
    if status == 413:
        return BackendRefusedError(f"{core}: the messages are too large for its endpoint{says}")
    hint = "".join(f"; {hint}" for word, hint in _HINTS.items() if word in reason)
    return BackendRefusedError(
        f"{core}: its endpoint refuses the request (HTTP {status}){says}{hint}"
    )


def _overflow(
    settings: OpenAISettings, error: JsonObject, max_tokens: int
) -> ContextOverflowError | None:
    message = str(error.get("message")).replace(",", "")
    prompt, context = error.get("n_prompt_tokens"), error.get("n_ctx")  # as llama-server says it
    if isinstance(prompt, int) and isinstance(context, int):
        return ContextOverflowError(wanted=prompt + max_tokens, limit=context)
    wanted, limit = _WANTED.search(message), _LIMIT.search(message)
    if wanted is None or (limit is None and not settings.context_tokens):
        return None
    most = int(limit[1]) if limit is not None else settings.context_tokens
    needed = int(wanted[1])
    return ContextOverflowError(wanted=needed, limit=most) if needed > most else None


def _reason(settings: OpenAISettings, error: JsonObject) -> str:
    """Give the endpoint's own words in one short line, without anything like a secret."""
    message = error.get("message") or error.get("detail")
    if not isinstance(message, str):
        return ""
    if settings.api_key is not None:
        message = message.replace(settings.api_key, "***")
    line = " ".join(_LIKE_A_SECRET.sub("***", well_formed(message)).split())
    shown = "".join(each for each in line if each.isprintable())
    return shown if len(shown) <= _MAX_REASON else f"{shown[:_MAX_REASON]}…"


def _error_object(body: object) -> JsonObject:
    if isinstance(body, Mapping):
        found = cast("JsonObject", body)
        inner = found.get("error")
        return cast("JsonObject", inner) if isinstance(inner, Mapping) else found
    return {"message": body} if isinstance(body, str) else {}


def _retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "").strip()
    try:
        if value.replace(".", "", 1).isdigit():
            seconds = float(value)
        else:
            # The endpoint's own clock is what its date was made with.
            then = parsedate_to_datetime(value)
            seconds = (then - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)
