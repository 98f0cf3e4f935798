"""How much memory a model will take, told from its file before it is loaded."""

from dataclasses import dataclass

from backends.llama_cpp.gguf_info import ModelInfo
from backends.llama_cpp.model import CHUNK_TOKENS, EMBED_TOKENS
from backends.llama_cpp.settings import CONTEXT_CAP_TOKENS, LlamaSettings

_MIB = 1024**2
_GIB = 1024**3
# What a worker takes without a model: Python, numpy, llama.cpp.
_PROCESS_BYTES = 64 * _MIB
# A token's text, score and place in the tables that turn text into tokens.
_VOCABULARY_BYTES_PER_TOKEN = 200
# Rows of a decode are worked on together: their hidden vectors several times, inner ones twice.
_HIDDEN_COPIES = 12
_CELL_SHARE = {"f16": 1.0, "q8_0": 34 / 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Main memory that a model takes while its worker runs, by what takes it."""

    weights_bytes: int
    context_bytes: int
    work_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.context_bytes + self.work_bytes

    def __str__(self) -> str:
        return (
            f"{in_words(self.total_bytes)} of memory (weights {in_words(self.weights_bytes)},"
            f" context {in_words(self.context_bytes)}, work space {in_words(self.work_bytes)})"
        )


def plan_memory(info: ModelInfo, settings: LlamaSettings) -> MemoryPlan:
    """Estimate what a model takes of main memory with these settings.

    Weights and context of layers on a GPU are not counted: they lie in its memory.
    """
    layers = info.layers + 1
    on_gpu = layers if settings.gpu_layers < 0 else min(settings.gpu_layers, layers)
    share = 1.0 - on_gpu / layers
    context = settings.context_tokens or min(info.context_tokens, CONTEXT_CAP_TOKENS)
    cells = settings.slots * context if info.is_causal else 0
    rows = max(CHUNK_TOKENS, settings.slots) if info.is_causal else EMBED_TOKENS
    row_bytes = 4 * (2 * info.inner_dimensions + _HIDDEN_COPIES * info.dimensions) + 2 * context
    logits_bytes = 2 * 4 * settings.slots * info.vocabulary
    return MemoryPlan(
        weights_bytes=int(info.size_bytes * share),
        context_bytes=int(cells * info.kv_bytes_per_token * _CELL_SHARE[settings.kv_type] * share),
        work_bytes=_PROCESS_BYTES
        + rows * row_bytes
        + logits_bytes
        + _VOCABULARY_BYTES_PER_TOKEN * info.vocabulary,
    )


def in_words(size_bytes: int) -> str:
    """Write a size for people: `1.5 GiB`, or `96 MiB` for smaller ones."""
    if size_bytes >= _GIB:
        return f"{size_bytes / _GIB:.1f} GiB"
    return f"{size_bytes / _MIB:.0f} MiB"
