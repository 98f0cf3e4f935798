"""One model's worker process, seen from the kernel: started at need, restarted when it dies.

States: `idle` until the first call, then `starting`, `ready` or `failed`. A failed worker is
started again by the next call once its back-off is over; until then calls fail at once.
"""

import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import count

import anyio
from anyio import to_thread
from anyio.abc import ByteReceiveStream, TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from backends.errors import (
    BackendError,
    BackendRefusedError,
    BackendUnavailableError,
    ContextOverflowError,
    SchemaUnsupportedError,
)
from backends.llama_cpp.calls import Call
from backends.llama_cpp.frames import (
    MAX_FRAME_BYTES,
    Cancel,
    Command,
    EndRow,
    Event,
    FrameDecoder,
    FrameError,
    Mode,
    PieceRow,
    Refused,
    Start,
    encode_frame,
)
from backends.llama_cpp.gguf_info import ModelFileError, ModelInfo, read_model_info
from backends.llama_cpp.machine import Machine, read_machine
from backends.llama_cpp.pipes import log_lines, write_frames
from backends.llama_cpp.probe import extra_buffers_work
from backends.llama_cpp.settings import CONTEXT_CAP_TOKENS, LlamaSettings
from backends.llama_cpp.spawn import end_process, open_worker
from backends.messages import CoreState

logger = logging.getLogger(__name__)

BACK_OFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_GRACE_SECONDS = 1.0
_READ_BYTES = 64 * 1024
_GIB = 1024**3
_CLOSED = "the model is being closed"
_TOO_SLOW = "the model did not load in time; raise start_deadline_seconds"


class _StartFailedError(Exception):
    """The worker could not be started; the text is for people and names no path."""


class WorkerProcess:
    """The worker of one model.

    Runs on one event loop; state changes between awaits, so that no lock is needed.
    """

    def __init__(self, *, settings: LlamaSettings, mode: Mode, tasks: TaskGroup) -> None:
        self._settings = settings
        self._mode: Mode = mode
        self._tasks = tasks
        self._ids = count(1)
        self._calls: dict[int, Call] = {}
        self._outbox: MemoryObjectSendStream[bytes] | None = None
        self._kill: Callable[[], None] = lambda: None
        self._settled = anyio.Event()
        self._failures = 0
        self._not_before = -math.inf
        self._caution = ""
        self._failure = ""
        self.state: CoreState = "idle"
        self.context_tokens = 0
        self.dimensions = 0

    @property
    def note(self) -> str:
        """One line for people: why it failed, or what is special about it."""
        if self.state == "failed":
            return self._failure
        return "; ".join(filter(None, (self._settings.note, self._caution)))

    @asynccontextmanager
    async def open_call(self, command: Callable[[int], Command]) -> AsyncGenerator[Call]:
        """Send a command to the worker, started at need; leaving the block cancels the call.

        Raises:
            BackendUnavailableError: The worker cannot be started, or has too many calls.
            BackendRefusedError: The command is too large.
        """
        await self._become_ready()
        if len(self._calls) >= self._settings.slots + self._settings.max_queued:
            raise self._unavailable("too many calls are waiting; try again later")
        call = Call(next(self._ids))
        frame = encode_frame(command(call.id))
        if len(frame) > MAX_FRAME_BYTES:
            raise BackendRefusedError("the request is too large; shorten the messages")
        self._send(frame)
        self._calls[call.id] = call
        try:
            yield call
        finally:
            self._calls.pop(call.id, None)
            if not call.over:
                self._send(encode_frame(Cancel(op="cancel", id=call.id)))

    # --- starting ------------------------------------------------------------------------------

    async def _become_ready(self) -> None:
        if self.state in {"idle", "failed"}:
            if anyio.current_time() < self._not_before:
                raise self._unavailable(self._failure)
            self.state = "starting"
            self._settled = anyio.Event()
            self._tasks.start_soon(self._run, name=f"worker of {self._settings.name}")
        # Bounded: `_run` settles within its deadlines.
        await self._settled.wait()
        if self.state != "ready":
            raise self._unavailable(self._failure)

    async def _run(self) -> None:
        failure = _CLOSED
        try:
            failure = await self._serve()
        except (_StartFailedError, ModelFileError) as error:
            failure = str(error)
        except TimeoutError:
            failure = _TOO_SLOW
        except Exception:
            logger.exception("a llama.cpp worker could not be run")
            failure = "the worker process could not be run; see the log"
        finally:
            self._fail(failure)

    def _fail(self, failure: str) -> None:
        self.state = "failed"
        self._failure = failure
        self._outbox = None
        wait = BACK_OFF_SECONDS[min(self._failures, len(BACK_OFF_SECONDS) - 1)]
        self._failures += 1
        self._not_before = math.inf if failure == _CLOSED else anyio.current_time() + wait
        logger.log(
            logging.DEBUG if failure == _CLOSED else logging.WARNING,
            "a llama.cpp worker has ended",
            extra={"model": self._settings.name, "reason": failure, "back_off_seconds": wait},
        )
        for call in self._calls.values():
            call.fail(self._unavailable(failure))
        self._settled.set()

    async def _serve(self) -> str:
        """Run one worker process until it ends; say why it ended."""
        info = await to_thread.run_sync(read_model_info, self._settings.model)
        machine = await to_thread.run_sync(read_machine)
        start = self._start_command(machine)
        if self._mode == "generate" and not info.is_causal:
            raise _StartFailedError("the model generates no text; set a language model")
        self._check_memory(info, machine)
        deadline = self._settings.start_deadline_seconds
        works = await extra_buffers_work(start, machine, self._settings.cache_dir, deadline)
        self._caution = "" if works else "AMX is off: this build of llama.cpp crashes with it"
        start["extra_buffers"] = works
        outbox, frames = anyio.create_memory_object_stream[bytes](
            4 * (self._settings.slots + self._settings.max_queued) + 16
        )
        failure, code = "", None
        with outbox, frames:
            async with open_worker() as process, anyio.create_task_group() as group:
                assert process.stdin is not None
                assert process.stdout is not None
                assert process.stderr is not None
                group.start_soon(log_lines, process.stderr, self._settings.name)
                group.start_soon(write_frames, process.stdin, frames)
                outbox.send_nowait(encode_frame(start))
                self._outbox, self._kill = outbox, process.kill
                failure = await self._read(process.stdout)
                code = await end_process(process, grace_seconds=_GRACE_SECONDS)
                group.cancel_scope.cancel()
        if failure:
            return failure
        if code is not None and code < 0:
            return f"the worker process was ended by signal {-code}; it starts again at need"
        return f"the worker process ended with code {code}; it starts again at need"

    def _start_command(self, machine: Machine) -> Start:
        settings = self._settings
        return Start(
            op="start",
            mode=self._mode,
            probe=False,
            model=str(settings.model),
            slots=settings.slots,
            context_tokens=settings.context_tokens,
            threads=settings.threads or machine.default_threads,
            gpu_layers=settings.gpu_layers,
            main_gpu=settings.main_gpu,
            split_mode=settings.split_mode,
            flash_attention=settings.flash_attention,
            kv_type=settings.kv_type,
            extra_buffers=True,
        )

    def _check_memory(self, info: ModelInfo, machine: Machine) -> None:
        """Refuse what cannot fit: the system would end some process, perhaps another one."""
        settings = self._settings
        if settings.gpu_layers or self._mode == "embed" or not machine.memory_bytes:
            return
        tokens = settings.context_tokens or min(info.context_tokens, CONTEXT_CAP_TOKENS)
        share = 0.54 if settings.kv_type == "q8_0" else 1.0
        cache_bytes = int(tokens * settings.slots * info.kv_bytes_per_token * share)
        if info.size_bytes + cache_bytes > machine.memory_bytes:
            raise _StartFailedError(
                f"the model needs {(info.size_bytes + cache_bytes) / _GIB:.1f} GiB of memory,"
                f" this machine has {machine.memory_bytes / _GIB:.1f};"
                " lower slots or context_tokens, or take a smaller model"
            )

    # --- pipes ---------------------------------------------------------------------------------

    def _send(self, frame: bytes) -> None:
        if self._outbox is None:
            return
        try:
            self._outbox.send_nowait(frame)
        except anyio.WouldBlock:
            # It has stopped reading. Its end fails the calls, and the next one starts another.
            self._outbox = None
            self._kill()

    async def _read(self, stream: ByteReceiveStream) -> str:
        """Deliver events until the pipe closes; say why the worker failed to start, or ""."""
        decoder = FrameDecoder()
        try:
            with anyio.fail_after(self._settings.start_deadline_seconds) as scope:
                while True:
                    for frame in decoder.feed(await stream.receive(_READ_BYTES)):
                        self._deliver(frame.as_event(), frame.body)
                    if self.state == "ready":
                        scope.deadline = math.inf
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return ""
        except TimeoutError:
            return _TOO_SLOW
        except _StartFailedError as error:
            return str(error)
        except FrameError:
            logger.exception("a worker process sent what is not a frame")
            return "the worker process sent garbage; it starts again at need"

    def _deliver(self, event: Event, body: bytes) -> None:
        if event["event"] == "step":
            self._deliver_step(event["pieces"], event["ends"])
        elif event["event"] == "vectors":
            if call := self._calls.get(event["id"]):
                call.finish(EndRow(event["id"], "stop", 0, 0, 0), body)
            self._failures = 0
        elif event["event"] == "refused":
            if call := self._calls.get(event["id"]):
                call.fail(_refusal(event))
        elif event["event"] == "ready":
            self.context_tokens = event["context_tokens"]
            self.dimensions = event["dimensions"]
            self.state = "ready"
            self._settled.set()
        else:
            raise _StartFailedError(event["reason"])

    def _deliver_step(self, pieces: list[PieceRow], ends: list[EndRow]) -> None:
        for id_, text, tokens in pieces:
            if call := self._calls.get(id_):
                call.put(text, tokens)
        for row in ends:
            end = EndRow(*row)
            if call := self._calls.get(end.id):
                call.finish(end)
            self._failures = 0

    def _unavailable(self, reason: str) -> BackendUnavailableError:
        return BackendUnavailableError(f"model {self._settings.name!r}: {reason}")


@asynccontextmanager
async def open_worker_process(settings: LlamaSettings, mode: Mode) -> AsyncGenerator[WorkerProcess]:
    """Hold a worker ready to be started; it ends with the block."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield WorkerProcess(settings=settings, mode=mode, tasks=tasks)
        except Exception as error:  # noqa: BLE001 - raised below, where no group wraps it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _refusal(event: Refused) -> BackendError:
    if event["kind"] == "overflow":
        return ContextOverflowError(wanted=event.get("wanted", 0), limit=event.get("limit", 0))
    if event["kind"] == "schema":
        return SchemaUnsupportedError(event["text"])
    return BackendRefusedError(event["text"])
