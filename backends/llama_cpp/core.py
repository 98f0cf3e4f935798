"""An LLM core over one llama.cpp worker process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from anyio import to_thread

from backends.errors import BackendRefusedError
from backends.llama_cpp.frames import Progress, Submit
from backends.llama_cpp.gguf_info import ModelFileError, read_model_info
from backends.llama_cpp.pool import ModelPool
from backends.llama_cpp.process import WorkerProcess, open_worker_process
from backends.llama_cpp.requests import check_limits, submit_command
from backends.llama_cpp.settings import LlamaSettings
from backends.llama_cpp.slices import minding
from backends.llama_cpp.tool_calls import CallFormat, CallReader, call_format
from backends.messages import Completion, CoreStatus, FinishReason, GenerateRequest, Piece, Usage
from backends.protocols import Emit, Turn
from backends.turns import UNINTERRUPTED


class LlamaCore:
    """Generates text with a local GGUF model; see `backends.protocols.LLMCore`.

    The same request gives the same answer, token for token: alone or among others, paused, moved
    out of its slot and resumed, in the same worker or in the next.
    """

    def __init__(
        self, settings: LlamaSettings, worker: WorkerProcess, form: CallFormat | None
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._form = form

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        """Generate an answer; pieces that come while `emit` works are emitted as one.

        When its turn is asked back it stands still after the step that runs. It goes on with the
        next turn as if nothing had been, even if the worker has died meanwhile.

        Raises:
            BackendUnavailableError: The worker cannot be started, or died.
            ContextOverflowError: Prompt and `max_tokens` do not fit the context.
            SchemaUnsupportedError: The schema cannot be turned into a grammar.
            BackendRefusedError: A limit is out of range, or the model's chat template does not
                take the messages or the tools.
        """
        check_limits(request)
        reader = self._call_reader(request)

        def command(call_id: int, progress: Progress | None = None) -> Submit:
            return submit_command(call_id, request, self._settings, progress)

        texts: list[str] = []
        async with (
            self._worker.open_call(command) as call,
            minding(turn, self._worker, call, command),
        ):
            while (piece := await call.take()) is not None:
                text = piece.text if reader is None else reader.push(piece.text)
                texts.append(text)
                await emit(Piece(text, piece.tokens))
            read = None if reader is None else reader.finish()
            if read is not None and read.text:
                texts.append(read.text)
                await emit(Piece(read.text, 0))
        end = call.end
        assert end is not None, "a call without an end has failed"
        calls = read.calls if read is not None else ()
        reason: FinishReason = "tool_calls" if calls else end.reason
        usage = Usage(
            input_tokens=end.input_tokens,
            cached_tokens=end.cached_tokens,
            output_tokens=end.output_tokens,
        )
        return Completion("".join(texts), reason, usage, calls, tuple(call.logprobs))

    def status(self) -> CoreStatus:
        """Say what this core is and how it is."""
        return CoreStatus(
            model=self._settings.name,
            state=self._worker.state,
            context_tokens=self._worker.context_tokens,
            note=self._worker.note,
            takes_tools=self._form is not None,
            resting_seconds=self._worker.resting_seconds,
            memory_bytes=self._worker.memory_bytes,
        )

    def _call_reader(self, request: GenerateRequest) -> CallReader | None:
        if not request.tools or request.tool_choice == "none":
            return None
        if self._form is None:
            raise BackendRefusedError(
                f"model {self._settings.name!r} was not taught to call tools;"
                " leave tools out, or take a model whose chat template defines tool calls"
            )
        names = {tool.name for tool in request.tools}
        return CallReader(self._form, names, has_begun=request.tool_choice == "required")


@asynccontextmanager
async def open_llama_core(
    settings: LlamaSettings, pool: ModelPool | None = None
) -> AsyncGenerator[LlamaCore]:
    """Open a core; its worker starts at the first request and ends with the block.

    Cores that share a pool share its memory: see `backends.llama_cpp.pool`.
    """
    try:
        info = await to_thread.run_sync(read_model_info, settings.model)
        form = call_format(info.chat_template)
    except ModelFileError:
        # The first request says what is wrong, or finds the file mended.
        form = None
    async with open_worker_process(settings, "generate", pool) as worker:
        yield LlamaCore(settings, worker, form)
