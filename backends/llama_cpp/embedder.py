"""An embedder over one llama.cpp worker process."""

import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from anyio import to_thread

from backends.errors import BackendUnavailableError
from backends.llama_cpp.frames import Embed
from backends.llama_cpp.gguf_info import ModelFileError, read_model_info
from backends.llama_cpp.process import WorkerProcess, open_worker_process
from backends.llama_cpp.settings import LlamaSettings
from backends.protocols import Vectors

TEXTS_PER_CALL = 64


class LlamaEmbedder:
    """Embeds texts with a local GGUF model; see `backends.protocols.Embedder`."""

    def __init__(self, name: str, dimensions: int, worker: WorkerProcess) -> None:
        self._name = name
        self._dimensions = dimensions
        self._worker = worker

    @property
    def name(self) -> str:
        """Model name, number format and digest of the file, such as `minilm:Q8_0:0123456789ab`."""
        return self._name

    async def embed(self, texts: Sequence[str], /) -> Vectors:
        """Embed texts; what is beyond the model's context is cut off.

        Raises:
            BackendUnavailableError: The worker cannot be started, or died.
        """
        parts = [
            await self._embed_some(list(texts[at : at + TEXTS_PER_CALL]))
            for at in range(0, len(texts), TEXTS_PER_CALL)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self._dimensions), np.float32)

    async def _embed_some(self, texts: list[str]) -> Vectors:
        def command(call_id: int) -> Embed:
            return Embed(op="embed", id=call_id, texts=texts)

        async with self._worker.open_call(command) as call:
            while await call.take() is not None:
                pass
        return np.frombuffer(call.body, np.float32).reshape(len(texts), -1)


@asynccontextmanager
async def open_llama_embedder(settings: LlamaSettings) -> AsyncGenerator[LlamaEmbedder]:
    """Open an embedder; its worker starts at the first request and ends with the block.

    Raises:
        BackendUnavailableError: The model file cannot be used.
    """
    try:
        info = await to_thread.run_sync(read_model_info, settings.model)
        digest = await to_thread.run_sync(_digest, settings.model)
    except (ModelFileError, OSError) as error:
        reason = str(error) if isinstance(error, ModelFileError) else "cannot be read"
        raise BackendUnavailableError(f"model {settings.name!r}: {reason}") from error
    name = f"{settings.name}:{info.quantization}:{digest[:12]}"
    async with open_worker_process(settings, "embed") as worker:
        yield LlamaEmbedder(name, info.dimensions, worker)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
