"""The models that run on this machine: how each is run, and the memory they share."""

from pathlib import Path

from aios_mcp.config import ConfigError
from aios_mcp.config.core_parts import LlamaCorePart
from aios_mcp.config.model import LimitsPart
from backends.llama_cpp import LlamaSettings, ModelPool
from backends.llama_cpp.gguf_info import read_model_info
from backends.llama_cpp.memory_plan import MemoryPlan, in_words, plan_memory
from backends.llama_cpp.pool import spare_memory


def llama_settings(
    name: str, part: LlamaCorePart, model: Path, limits: LimitsPart, cache_dir: Path
) -> LlamaSettings:
    """Give what the configuration says of a core's model and of how to run it."""
    return LlamaSettings(
        model=model,
        name=name,
        slots=part.slots,
        context_tokens=part.context_tokens,
        threads=part.threads,
        gpu_layers=part.gpu_layers,
        main_gpu=part.main_gpu,
        split_mode=part.split_mode,
        flash_attention=part.flash_attention,
        kv_type=part.kv_type,
        temperature=part.temperature,
        start_deadline_seconds=part.start_seconds,
        room_deadline_seconds=limits.queue_seconds,
        unload_after_seconds=part.unload_after_seconds,
        paused_memory_mb=part.paused_memory_mb,
        paused_disk_mb=part.paused_disk_mb,
        cache_dir=cache_dir,
    )


def open_pool(limits: LimitsPart) -> ModelPool:
    """Make the pool that all models of a kernel share. Blocks shortly."""
    megabytes = limits.model_memory_mb
    return ModelPool(megabytes * 1_000_000 if megabytes else spare_memory())


def check_room(settings: LlamaSettings, pool: ModelPool) -> MemoryPlan:
    """Give what a model takes, once it is sure that it fits with all room to itself.

    Blocks shortly.

    Raises:
        ConfigError: It cannot; the text has the figures.
    """
    plan = plan_memory(read_model_info(settings.model), settings)
    if plan.total_bytes > pool.budget_bytes:
        raise ConfigError(
            f"needs {plan}, and limits.model_memory_mb allows {in_words(pool.budget_bytes)}; lower"
            " slots or context_tokens, take a smaller model, or raise limits.model_memory_mb"
        )
    return plan
