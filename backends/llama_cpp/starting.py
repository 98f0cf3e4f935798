"""What it takes to start a worker: room for its model, and the command that loads it."""

from collections.abc import Sequence

from backends.llama_cpp.frames import Mode, Start, StateFolder
from backends.llama_cpp.gguf_info import read_model_info
from backends.llama_cpp.machine import Machine
from backends.llama_cpp.memory_plan import MemoryPlan, in_words, plan_memory
from backends.llama_cpp.settings import LlamaSettings


class StartFailedError(Exception):
    """The worker could not be started; the text is for people and names no path."""


def plan_start(settings: LlamaSettings, mode: Mode, budget_bytes: int) -> MemoryPlan:
    """Say what memory a model will need.

    Raises:
        StartFailedError: It needs more than there ever is, or generates no text.
        ModelFileError: The file is not a model.
    """
    info = read_model_info(settings.model)
    if mode == "generate" and not info.is_causal:
        raise StartFailedError("the model generates no text; set a language model")
    plan = plan_memory(info, settings)
    if plan.total_bytes > budget_bytes:
        raise StartFailedError(
            f"the model needs {plan}, and there are {in_words(budget_bytes)} for models; lower"
            " slots or context_tokens, take a smaller model, or raise model_memory_mb"
        )
    return plan


def start_command(
    settings: LlamaSettings, mode: Mode, machine: Machine, folders: Sequence[StateFolder]
) -> Start:
    """Give the command that loads a model; `extra_buffers` is still to be probed."""
    return Start(
        op="start",
        mode=mode,
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
        states=list(folders),
    )


def why_ended(code: int | None) -> str:
    """Say how a worker that had started has ended."""
    how = (
        f"was ended by signal {-code}"
        if code is not None and code < 0
        else f"ended with code {code}"
    )
    return f"the worker process {how}; it starts again at need"
