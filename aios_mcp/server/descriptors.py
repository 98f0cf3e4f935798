"""Reading and writing file descriptors from an event loop, and stdin and stdout as the wire.

No threads where a descriptor can be waited for: pipes, sockets and terminals. Descriptors stay in
blocking mode, because that is shared with whoever else holds them; instead, no write is larger
than what a writable pipe takes at once.
"""

import os
import select
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

import anyio
import anyio.to_thread

_READ_BYTES = 64 * 1024


class Descriptor:
    """An open descriptor, which stays its owner's to close."""

    def __init__(self, fd: int) -> None:
        mode = os.fstat(fd).st_mode
        self._fd = fd
        self._can_wait = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    async def read(self) -> bytes:
        """Read what is there, waiting for something; empty at the end."""
        if self._can_wait:
            await anyio.wait_readable(self._fd)
            return os.read(self._fd, _READ_BYTES)
        return await anyio.to_thread.run_sync(
            os.read, self._fd, _READ_BYTES, abandon_on_cancel=True
        )

    async def write(self, whole: bytes) -> None:
        """Write all of it.

        Raises:
            OSError: Nobody reads any more.
        """
        left = memoryview(whole)
        while left:
            part = left[: select.PIPE_BUF]
            if self._can_wait:
                if not self._poll.poll(0):
                    await anyio.wait_writable(self._fd)
                written = os.write(self._fd, part)
            else:
                written = await anyio.to_thread.run_sync(os.write, self._fd, part)
            left = left[written:]


class Wire(NamedTuple):
    """Where a client is heard and answered."""

    reads: Descriptor
    writes: Descriptor


@contextmanager
def standard_wire() -> Generator[Wire]:
    """Take stdin and stdout for the wire; put the null device and stderr in their place.

    What anything in this process, or a child of it, prints then misses the wire.
    """
    sys.stdout.flush()
    stdin, stdout = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    try:
        yield Wire(Descriptor(stdin), Descriptor(stdout))
    finally:
        sys.stdout.flush()
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.close(stdin)
        os.close(stdout)
