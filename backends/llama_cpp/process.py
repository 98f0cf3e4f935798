"""One model's worker process, seen from the kernel: started at need, restarted when it dies.

States: `idle` until the first call, then `starting`, `ready` or `failed`. A failed worker is
started again by the next call once its back-off is over; until then calls fail at once. One that
leaves, for want of room or of use, is `idle` again.
"""

import logging
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count

import anyio
from anyio import to_thread
from anyio.abc import ByteReceiveStream, TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from backends.errors import BackendRefusedError, BackendUnavailableError
from backends.llama_cpp.back_off import BackOff
from backends.llama_cpp.calls import Call, deliver_step, refusal_of
from backends.llama_cpp.frames import (
    MAX_FRAME_BYTES,
    Cancel,
    Command,
    EndRow,
    Event,
    FrameDecoder,
    FrameError,
    Mode,
    Pause,
    Progress,
    Resume,
    StateFolder,
    encode_frame,
)
from backends.llama_cpp.gguf_info import ModelFileError
from backends.llama_cpp.machine import read_machine
from backends.llama_cpp.pipes import log_lines, write_frames
from backends.llama_cpp.pool import ModelPool, Standing, shortage, spare_memory
from backends.llama_cpp.probe import extra_buffers_work
from backends.llama_cpp.settings import LlamaSettings
from backends.llama_cpp.spawn import end_process, open_worker
from backends.llama_cpp.starting import StartFailedError, plan_start, start_command, why_ended
from backends.llama_cpp.state_folders import open_state_folders, sweep
from backends.messages import CoreState

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 1.0
_READ_BYTES = 64 * 1024
_CLOSED = "the model is being closed"
_TOO_SLOW = "the model did not load in time; raise start_deadline_seconds"


class WorkerProcess:
    """The worker of one model, which is a tenant of the pool while it runs.

    Runs on one event loop; state changes between awaits, so that no lock is needed.
    """

    def __init__(
        self,
        *,
        settings: LlamaSettings,
        mode: Mode,
        pool: ModelPool,
        folders: Sequence[StateFolder],
        tasks: TaskGroup,
    ) -> None:
        self._settings = settings
        self._mode: Mode = mode
        self._pool = pool
        self._tasks = tasks
        self._ids = count(1)
        self._calls: dict[int, Call] = {}
        self._outbox: MemoryObjectSendStream[bytes] | None = None
        self._kill: Callable[[], None] = lambda: None
        # Of the worker that runs or comes: it has room; it is ready or has failed; it is gone.
        self._housed, self._settled, self._gone = anyio.Event(), anyio.Event(), anyio.Event()
        self._line = anyio.CancelScope()
        self._need_bytes = 0
        self._waiting = 0
        self._folders = folders
        self._leaving = False
        self._last_used = -math.inf
        self._back_off = BackOff()
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
        if self.state == "starting" and self._need_bytes and not self._housed.is_set():
            return shortage(self._need_bytes, self._pool)
        return "; ".join(filter(None, (self._settings.note, self._caution)))

    @property
    def resting_seconds(self) -> float:
        """How long it will refuse to start again; 0.0 where it would start at once."""
        return self._back_off.seconds if self.state == "failed" else 0.0

    @property
    def name(self) -> str:
        """The model as people know it."""
        return self._settings.name

    @property
    def memory_bytes(self) -> int:
        """Main memory that is set aside for it; 0 while it does not run."""
        return self._pool.held.get(self, 0)

    @property
    def standing(self) -> Standing:
        """How far it is between coming and being gone."""
        if self._leaving:
            return "leaving"
        if self.state != "ready" or self._waiting:
            return "coming"
        return "used" if self._calls else "unused"

    @property
    def last_used(self) -> float:
        """When it fell into disuse; the present while it has not."""
        return self._last_used if self.standing == "unused" else anyio.current_time()

    def leave(self) -> None:
        """Let the worker end with the last of its calls; new ones wait for the next worker."""
        self._leaving = True
        self._end_if_left()

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
            self._last_used = anyio.current_time()
            self._end_if_left()
            self._pool.look_again()

    async def pause(self, call: Call) -> bool:
        """Let a call stand still when the step that runs is done; False if the call has ended."""
        self._send(encode_frame(Pause(op="pause", id=call.id)))
        return await call.stands_still()

    async def resume(self, call: Call, command: Callable[[int, Progress], Command]) -> None:
        """Go on with a paused call: with `command` where its worker has died meanwhile.

        Raises:
            BackendUnavailableError: A new worker cannot be started.
        """
        if call.is_lost:
            await self._become_ready()
        assert call.progress is not None, "resumed without a pause"
        again = command(call.id, call.progress)
        self._send(encode_frame(again if call.is_lost else Resume(op="resume", id=call.id)))
        call.go_on()

    # --- starting ------------------------------------------------------------------------------

    async def _become_ready(self) -> None:
        deadline = anyio.current_time() + self._settings.room_deadline_seconds
        self._waiting += 1
        try:
            while self.state != "ready" or self._leaving:
                await self._become_housed(deadline)
                # Bounded: `_run` settles within its deadlines.
                await self._settled.wait()
                if self.state == "failed":
                    raise self._unavailable(self._failure)
        finally:
            self._waiting -= 1
            if not self._waiting:
                # What nobody waits for any more leaves the line.
                self._line.cancel()
            self._pool.look_again()

    async def _become_housed(self, deadline: float) -> None:
        with anyio.CancelScope(deadline=deadline) as scope:
            if self._leaving:
                await self._gone.wait()
            if self.state in {"idle", "failed"}:
                self._begin()
            await self._housed.wait()
        if scope.cancelled_caught:
            raise self._unavailable(shortage(self._need_bytes, self._pool))

    def _begin(self) -> None:
        if not self._back_off.is_over:
            raise self._unavailable(self._failure, after=self.resting_seconds or None)
        self.state = "starting"
        self._housed, self._settled, self._gone = anyio.Event(), anyio.Event(), anyio.Event()
        self._line = anyio.CancelScope()
        self._tasks.start_soon(self._run, name=f"worker of {self._settings.name}")

    async def _run(self) -> None:
        failure = _CLOSED
        try:
            failure = await self._serve()
        except (StartFailedError, ModelFileError) as error:
            failure = str(error)
        except TimeoutError:
            failure = _TOO_SLOW
        except Exception:
            logger.exception("a llama.cpp worker could not be run")
            failure = "the worker process could not be run; see the log"
        finally:
            self._outbox = None
            if self._leaving and not self._is_working:
                self.state = "idle"
            else:
                self._fail(failure)
            for call in self._calls.values():
                call.lose(self._unavailable(failure))
            self._leaving = False
            for event in (self._housed, self._settled, self._gone):
                event.set()

    def _fail(self, failure: str) -> None:
        self.state = "failed"
        self._failure = failure
        wait = self._back_off.fail(for_good=failure == _CLOSED)
        logger.log(
            logging.DEBUG if failure == _CLOSED else logging.WARNING,
            "a llama.cpp worker has ended",
            extra={"model": self._settings.name, "reason": failure, "back_off_seconds": wait},
        )

    async def _serve(self) -> str:
        """Run one worker process, once there is room, until it ends; say why it ended."""
        plan = await to_thread.run_sync(
            plan_start, self._settings, self._mode, self._pool.budget_bytes
        )
        self._need_bytes = plan.total_bytes
        with self._line:
            await self._pool.enter(self, plan.total_bytes)
        try:
            if self._line.cancelled_caught:
                self._leaving = True
                return ""
            self._housed.set()
            return await self._serve_housed()
        finally:
            self._pool.exit(self)

    async def _serve_housed(self) -> str:
        machine = await to_thread.run_sync(read_machine)
        standing = [call.id for call in self._calls.values() if call.is_lost]
        await to_thread.run_sync(sweep, self._folders, standing)
        start = start_command(self._settings, self._mode, machine, self._folders)
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
                group.start_soon(self._leave_in_disuse)
                outbox.send_nowait(encode_frame(start))
                self._outbox, self._kill = outbox, process.kill
                failure = await self._read(process.stdout)
                code = await end_process(process, grace_seconds=_GRACE_SECONDS)
                group.cancel_scope.cancel()
        return failure or why_ended(code)

    async def _leave_in_disuse(self) -> None:
        after = self._settings.unload_after_seconds or math.inf
        # Not polling: each time it sleeps to the first moment at which it may be due.
        while (until := self.last_used + after) > anyio.current_time():  # noqa: ASYNC110
            await anyio.sleep_until(until)
        self.leave()

    @property
    def _is_working(self) -> bool:
        return any(call.progress is None for call in self._calls.values())

    def _end_if_left(self) -> None:
        if self._leaving and not self._is_working:
            self._outbox = None
            # Those that stand still go on in the next worker: they may wait for a slot that a
            # call has which waits for this worker to be gone.
            for call in self._calls.values():
                call.lose(self._unavailable("it has left memory for another model"))
            with suppress(ProcessLookupError):
                self._kill()

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
        except StartFailedError as error:
            return str(error)
        except FrameError:
            logger.exception("a worker process sent what is not a frame")
            return "the worker process sent garbage; it starts again at need"

    def _deliver(self, event: Event, body: bytes) -> None:
        if event["event"] == "step":
            deliver_step(event, self._calls)
            if event["ends"]:
                self._back_off.succeed()
        elif event["event"] == "paused":
            if call := self._calls.get(event["id"]):
                call.stand_still(event["progress"])
                self._end_if_left()
        elif event["event"] == "vectors":
            if call := self._calls.get(event["id"]):
                call.finish(EndRow(event["id"], "stop", 0, 0, 0), body)
            self._back_off.succeed()
        elif event["event"] == "refused":
            if call := self._calls.get(event["id"]):
                call.fail(refusal_of(event))
        elif event["event"] == "ready":
            self.context_tokens = event["context_tokens"]
            self.dimensions = event["dimensions"]
            self.state = "ready"
            self._last_used = anyio.current_time()
            self._settled.set()
        else:
            raise StartFailedError(event["reason"])

    def _unavailable(self, reason: str, *, after: float | None = None) -> BackendUnavailableError:
        reason = f"model {self._settings.name!r}: {reason}"
        return BackendUnavailableError(reason, retry_after_seconds=after)


@asynccontextmanager
async def open_worker_process(
    settings: LlamaSettings, mode: Mode, pool: ModelPool | None = None
) -> AsyncGenerator[WorkerProcess]:
    """Hold a worker ready to be started; it ends with the block.

    Without a pool the model has all memory to itself that the machine can spare.
    """
    pool = pool or ModelPool(await to_thread.run_sync(spare_memory))
    failure: Exception | None = None
    async with open_state_folders(settings) as folders, anyio.create_task_group() as tasks:
        try:
            yield WorkerProcess(
                settings=settings, mode=mode, pool=pool, folders=folders, tasks=tasks
            )
        except Exception as error:  # noqa: BLE001 - raised below, where no group wraps it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
