"""The ends of a worker's pipes that do no more than carry: its stdin and its stderr."""

import logging

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream
from anyio.streams.memory import MemoryObjectReceiveStream

logger = logging.getLogger(__name__)

_READ_BYTES = 64 * 1024
_LOG_LINE_BYTES = 2000


async def write_frames(stream: ByteSendStream, frames: MemoryObjectReceiveStream[bytes]) -> None:
    """Write what comes into a worker's stdin, until there is no more or nobody reads it."""
    try:
        async for frame in frames:
            await stream.send(frame)
        await stream.aclose()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionError):
        # The worker is gone; the reader of its other pipe sees it too and says so.
        return


async def log_lines(stream: ByteReceiveStream, model: str) -> None:
    """Send what the worker writes on stderr, llama.cpp's log mostly, to the log."""
    rest = b""
    try:
        while True:
            *lines, rest = (rest + await stream.receive(_READ_BYTES)).split(b"\n")
            rest = rest[-_LOG_LINE_BYTES:]
            for line in lines:
                text = line[:_LOG_LINE_BYTES].decode("utf-8", "replace")
                logger.debug("llama.cpp", extra={"model": model, "line": text})
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return
