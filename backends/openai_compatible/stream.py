"""What comes back: server-sent events, read with bounds."""

from collections.abc import AsyncGenerator

import httpx2

from backends.errors import BackendUnavailableError
from backends.openai_compatible.failures import TRANSPORT_ERRORS, from_transport
from backends.openai_compatible.settings import OpenAISettings

DONE = "[DONE]"

_MAX_EVENT_BYTES = 4 * 1024 * 1024
_MAX_STREAM_BYTES = 256 * 1024 * 1024


def check_is_stream(settings: OpenAISettings, response: httpx2.Response) -> None:
    """Refuse a response that cannot be a stream of events, such as a page or a JSON document.

    Raises:
        BackendUnavailableError: It cannot.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in {"text/html", "application/json"}:
        raise _unusable(settings, f"{kind} instead of a stream; see that base_url is right")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _unusable(settings, "a compressed stream, though none was asked for")


async def event_data(settings: OpenAISettings, response: httpx2.Response) -> AsyncGenerator[str]:
    """Give the data of each event, to the end of the body; comments and empty events are skipped.

    Raises:
        BackendTimeoutError: The endpoint was silent for too long.
        BackendUnavailableError: The connection was lost, or the bytes are no stream of events.
    """
    rest = bytearray()
    data: list[bytearray] = []
    size = total = 0
    try:
        async for chunk in response.aiter_raw():
            total += len(chunk)
            rest += chunk
            if b"\n" in chunk:
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    if line.startswith(b"data:"):
                        data.append(line[5:].strip())
                        size += len(line)
                    elif data and not line.strip():
                        yield b"\n".join(data).decode()
                        data, size = [], 0
            if size + len(rest) > _MAX_EVENT_BYTES or total > _MAX_STREAM_BYTES:
                raise _unusable(settings, "more than an answer can be")
    except UnicodeDecodeError:
        raise _unusable(settings, "bytes that are not UTF-8") from None
    except TRANSPORT_ERRORS as exc:
        raise from_transport(settings, exc) from None


def _unusable(settings: OpenAISettings, what: str) -> BackendUnavailableError:
    return BackendUnavailableError(f"core {settings.name!r}: its endpoint sent {what}")
