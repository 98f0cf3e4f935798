"""What a llama.cpp core is configured with. The parent process reads it; the worker gets a part."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

BUNDLED_MODEL = Path(__file__).parent / "models" / "aios-demo.gguf"
"""The small demonstration model that comes with the package."""

CONTEXT_CAP_TOKENS = 8192

SplitMode = Literal["none", "layer", "row"]
FlashAttention = Literal["auto", "on", "off"]
KvType = Literal["f16", "q8_0"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaSettings:
    """One GGUF model and how to run it.

    Attributes:
        model: The GGUF file.
        name: The model as people know it.
        slots: Sequences generated at the same time, 1 to 64.
        context_tokens: Tokens of prompt and answer per sequence; 0 takes the model's own limit,
            at most `CONTEXT_CAP_TOKENS`.
        threads: CPU threads; 0 is the number of physical cores less one.
        gpu_layers: Layers kept on the GPU; -1 is all of them.
        main_gpu: The GPU used when `split_mode` is `none`.
        split_mode: How layers are spread over several GPUs.
        flash_attention: Whether to use flash attention.
        kv_type: Number format of the key-value cache.
        temperature: Used where a request has none; 0.0 is greedy.
        seed: Used where a request has none.
        start_deadline_seconds: Longest time for the worker to load the model.
        room_deadline_seconds: Longest time that a call waits for room in memory.
        unload_after_seconds: The worker ends after so long without a call; 0 lets it stay.
        max_queued: Calls that may wait inside the worker beyond those that run.
        paused_memory_mb: Memory for the cells of paused answers whose slots serve others.
        paused_disk_mb: The same on disk, for what memory does not hold; what neither holds is
            computed again.
        cache_dir: Where the verdict of the start-up probe is remembered; None probes every time.
    """

    model: Path
    name: str
    slots: int = 8
    context_tokens: int = 0
    threads: int = 0
    gpu_layers: int = 0
    main_gpu: int = 0
    split_mode: SplitMode = "layer"
    flash_attention: FlashAttention = "auto"
    kv_type: KvType = "f16"
    temperature: float = 0.0
    seed: int = 0
    start_deadline_seconds: float = 120.0
    room_deadline_seconds: float = 30.0
    unload_after_seconds: float = 0.0
    max_queued: int = 64
    paused_memory_mb: int = 256
    paused_disk_mb: int = 2048
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= 64:
            raise ValueError(f"slots = {self.slots}: must be 1 to 64")
        for key in (
            "context_tokens",
            "threads",
            "max_queued",
            "paused_memory_mb",
            "paused_disk_mb",
        ):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must not be negative")
        if self.kv_type == "q8_0" and self.flash_attention == "off":
            raise ValueError('kv_type = "q8_0" needs flash attention; set flash_attention = "auto"')

    @property
    def bundled(self) -> bool:
        """Whether this is the demonstration model that comes with the package."""
        return self.model == BUNDLED_MODEL

    @property
    def note(self) -> str:
        """One line for people about this choice of model, or ""."""
        return "bundled demonstration model" if self.bundled else ""
