"""A server as a child process: its pipes, its environment and its end.

The pipes are used without threads: a message that fits the pipe is written at once by its sender,
so that no cancellation can tear it. The process leads a group of its own, which ends with it.
"""

import fcntl
import logging
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from subprocess import PIPE

import anyio
from anyio.abc import ByteReceiveStream, Process

from backends.tool_servers.lines import Line, LineSplitter
from backends.tool_servers.link import LIST_BYTES, LinkClosedError, ProcessEndedError, own_tasks
from backends.tool_servers.settings import StdioServer

_INHERITED = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG")
_READ_BYTES = 64 * 1024
_PIPE_BYTES = 512 * 1024
_MAX_UNWRITTEN_BYTES = 32 * 1024 * 1024
_MAX_LINE_BYTES = 256 * 1024 * 1024
_TAIL_BYTES = 2000
_GRACE_SECONDS = 0.5
_CONTROL = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]+")

logger = logging.getLogger(__name__)


class ProcessPipe:
    """The pipes of a running server."""

    def __init__(self, process: Process, *, read_fd: int, write_fd: int, limit_bytes: int) -> None:
        self._process = process
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._lines = LineSplitter(limit_bytes)
        self._unwritten = bytearray()
        self._more = anyio.Event()
        self._is_over = False

    async def write(self, message: bytes, /) -> None:
        """Send a message: at once, or in the background where the pipe is full."""
        if len(self._unwritten) + len(message) > _MAX_UNWRITTEN_BYTES:
            raise LinkClosedError("does not read what is sent to it")
        line = message + b"\n"
        written = 0 if self._unwritten else self._write_some(line)
        if written < len(line):
            self._unwritten += line[written:]
            self._more.set()

    async def read(self) -> Sequence[Line]:
        """Wait for lines. Always waits once, so that a flood does not starve other tasks."""
        chunk = b""
        if not self._is_over:
            try:
                await anyio.wait_readable(self._read_fd)
                chunk = os.read(self._read_fd, _READ_BYTES)
            except anyio.ClosedResourceError:
                self._is_over = True
        if not chunk:
            raise await self._reason()
        lines = self._lines.feed(chunk)
        if self._lines.pending_bytes > _MAX_LINE_BYTES:
            raise LinkClosedError("sent a message without an end")
        return lines

    async def flush(self) -> None:
        """Write what did not fit, whenever there is room."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            while self._unwritten:
                await anyio.wait_writable(self._write_fd)
                try:
                    del self._unwritten[: self._write_some(self._unwritten)]
                except LinkClosedError:
                    # The next sender will be told.
                    self._unwritten.clear()

    async def watch(self) -> None:
        """End what the process leaves behind; a stray child must not hold the pipe open."""
        await self._process.wait()
        _signal_group(self._process, signal.SIGKILL)
        await anyio.sleep(_GRACE_SECONDS)
        self._is_over = True
        anyio.notify_closing(self._read_fd)

    def _write_some(self, content: bytes | bytearray) -> int:
        try:
            return os.write(self._write_fd, content)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LinkClosedError("closed its input") from error

    async def _reason(self) -> LinkClosedError:
        with anyio.move_on_after(_GRACE_SECONDS):
            await self._process.wait()
        code = self._process.returncode
        if code is None:
            return LinkClosedError("closed its output")
        if code < 0:
            return ProcessEndedError(f"was ended by signal {-code}")
        return ProcessEndedError(f"ended with code {code}")


@asynccontextmanager
async def open_process(settings: StdioServer) -> AsyncGenerator[ProcessPipe]:
    """Start a server; it has ended, and its process group with it, when the block ends.

    Raises:
        LinkClosedError: It cannot be started.
    """
    limit_bytes = max(settings.max_result_bytes, LIST_BYTES)
    tail = bytearray()
    with _open_pipes() as fds:
        process = await _start(settings, fds)
        assert process.stderr is not None
        pipe = ProcessPipe(process, read_fd=fds.read, write_fd=fds.write, limit_bytes=limit_bytes)
        try:
            async with own_tasks() as tasks:
                tasks.start_soon(_drain, process.stderr, tail)
                tasks.start_soon(pipe.flush)
                tasks.start_soon(pipe.watch)
                yield pipe
        finally:
            has_failed = process.returncode not in {None, 0}
            fds.close("write")
            with anyio.CancelScope(shield=True):
                await _end(process)
                await process.stderr.aclose()
            if has_failed:
                program = os.path.basename(settings.command[0])
                said = _readable(tail, settings.env)
                logger.warning("a tool server failed", extra={"program": program, "stderr": said})


async def _start(settings: StdioServer, fds: "_Pipes") -> Process:
    try:
        # Shielded: a process that is started must not be forgotten.
        with anyio.CancelScope(shield=True):
            return await anyio.open_process(
                settings.command,
                stdin=fds.child_stdin,
                stdout=fds.child_stdout,
                stderr=PIPE,
                cwd=settings.cwd,
                env=_environment(settings.env),
                start_new_session=True,
            )
        raise AssertionError("nothing cancels a shielded scope")
    except (OSError, ValueError) as error:
        reason = "cannot be started; check its command"
        if settings.cwd is not None and not await anyio.Path(settings.cwd).is_dir():
            reason = "cannot be started: its cwd is no directory"
        elif isinstance(error, FileNotFoundError):
            reason = "cannot be started: the program of its command is not found"
        raise LinkClosedError(reason) from error
    finally:
        fds.close("child_stdin")
        fds.close("child_stdout")


async def _end(process: Process) -> None:
    """Wait for the end that closed pipes bring about, then insist."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with anyio.move_on_after(_GRACE_SECONDS):
            await process.wait()
        if process.returncode is None:
            _signal_group(process, sign)
    _signal_group(process, signal.SIGKILL)
    with anyio.move_on_after(_GRACE_SECONDS):
        await process.wait()


def _signal_group(process: Process, sign: signal.Signals) -> None:
    try:
        os.killpg(process.pid, sign)
    except (ProcessLookupError, PermissionError):
        # Nobody is left, or what is left has taken another user's rights.
        return


async def _drain(stderr: ByteReceiveStream, tail: bytearray) -> None:
    while True:
        try:
            tail += await stderr.receive(_READ_BYTES)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        del tail[:-_TAIL_BYTES]


def _environment(added: Mapping[str, str]) -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | dict(added)


def _readable(tail: bytes | bytearray, secrets: Mapping[str, str]) -> str:
    text = tail.decode("utf-8", "replace")
    for value in secrets.values():
        if len(value) >= 4:
            text = text.replace(value, "***")
    return _CONTROL.sub(" ", text).strip()


class _Pipes:
    """Four file descriptors: our two ends, which do not block, and the child's."""

    def __init__(self) -> None:
        self.child_stdin, self.write = os.pipe()
        self.read, self.child_stdout = os.pipe()
        os.set_blocking(self.write, False)
        os.set_blocking(self.read, False)
        if sys.platform == "linux":
            # A large answer then takes few turns; the system may have no room for it.
            with suppress(OSError):
                fcntl.fcntl(self.read, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._open = {"child_stdin", "write", "read", "child_stdout"}

    def close(self, name: str) -> None:
        """Close one of them, if it is open."""
        if name in self._open:
            self._open.remove(name)
            os.close(getattr(self, name))

    def close_all(self) -> None:
        """Close those that are open."""
        for name in tuple(self._open):
            self.close(name)


@contextmanager
def _open_pipes() -> Generator[_Pipes]:
    fds = _Pipes()
    try:
        yield fds
    finally:
        fds.close_all()
