"""An LLM core over one llama.cpp worker process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from backends.llama_cpp.frames import Submit
from backends.llama_cpp.process import WorkerProcess, open_worker_process
from backends.llama_cpp.settings import LlamaSettings
from backends.messages import Completion, CoreStatus, GenerateRequest, Usage
from backends.protocols import Emit, Turn
from backends.turns import UNINTERRUPTED


class LlamaCore:
    """Generates text with a local GGUF model; see `backends.protocols.LLMCore`."""

    def __init__(self, settings: LlamaSettings, worker: WorkerProcess) -> None:
        self._settings = settings
        self._worker = worker

    async def generate(
        self, request: GenerateRequest, emit: Emit, turn: Turn = UNINTERRUPTED, /
    ) -> Completion:
        """Generate an answer; pieces that come while `emit` works are emitted as one.

        Raises:
            BackendUnavailableError: The worker cannot be started, or died.
            ContextOverflowError: Prompt and `max_tokens` do not fit the context.
            SchemaUnsupportedError: The schema cannot be turned into a grammar.
            BackendRefusedError: The model's chat template does not take the messages.
        """
        texts: list[str] = []
        async with self._worker.open_call(lambda call_id: self._submit(call_id, request)) as call:
            while (piece := await call.take()) is not None:
                texts.append(piece.text)
                await emit(piece)
        end = call.end
        assert end is not None, "a call without an end has failed"
        usage = Usage(
            input_tokens=end.input_tokens,
            cached_tokens=end.cached_tokens,
            output_tokens=end.output_tokens,
        )
        return Completion("".join(texts), end.reason, usage)

    def status(self) -> CoreStatus:
        """Say what this core is and how it is."""
        return CoreStatus(
            model=self._settings.name,
            state=self._worker.state,
            context_tokens=self._worker.context_tokens,
            note=self._worker.note,
        )

    def _submit(self, call_id: int, request: GenerateRequest) -> Submit:
        settings = self._settings
        temperature = request.temperature
        return Submit(
            op="submit",
            id=call_id,
            messages=[(message.role, message.text) for message in request.messages],
            max_tokens=max(1, request.max_tokens),
            temperature=settings.temperature if temperature is None else temperature,
            top_p=1.0 if request.top_p is None else request.top_p,
            seed=settings.seed if request.seed is None else request.seed,
            stop=list(request.stop),
            schema=request.schema,
        )


@asynccontextmanager
async def open_llama_core(settings: LlamaSettings) -> AsyncGenerator[LlamaCore]:
    """Open a core; its worker starts at the first request and ends with the block."""
    async with open_worker_process(settings, "generate") as worker:
        yield LlamaCore(settings, worker)
