"""What `aios-mcp doctor` says of llama.cpp: the build, GPUs, and the memory of the models."""

import shutil
import sys
from collections.abc import Iterator

from anyio import to_thread

from aios_mcp.cli.findings import Finding
from aios_mcp.config import ConfigError, LoadedConfig
from aios_mcp.config.core_parts import LlamaCorePart
from aios_mcp.directories import Directories
from aios_mcp.local_models import check_room, llama_settings, open_pool
from aios_mcp.model_files import resolve_model
from backends.errors import BackendError
from backends.llama_cpp import ModelPool
from backends.llama_cpp.build_info import BuildInfo, read_build_info
from backends.llama_cpp.memory_plan import in_words

_BUILDS = {"CUDA": "NVIDIA", "METAL": "Apple", "VULKAN": "most GPUs"}


async def check_llama(loaded: LoadedConfig) -> list[Finding]:
    """Look at the installed llama.cpp, what it can use of this machine, and what is asked of it."""
    try:
        build = await read_build_info()
    except BackendError as exc:
        return [Finding("broken", "llama.cpp", str(exc))]
    features = " ".join(build.features) or "no special CPU features"
    text = f"llama-cpp-python {build.version}, built for {features}"
    cores = {
        name: core for name, core in loaded.config.cores.items() if isinstance(core, LlamaCorePart)
    }
    return [
        Finding("ok", "llama.cpp", text),
        _gpu(cores, build),
        *gpu_settings(cores, build),
        *await to_thread.run_sync(_models, cores, loaded),
    ]


def install_commands() -> str:
    """Give the commands that install a build for each kind of GPU, the likeliest first."""
    likeliest = "VULKAN"
    if sys.platform == "darwin":
        likeliest = "METAL"
    elif shutil.which("nvidia-smi"):
        likeliest = "CUDA"
    kinds = sorted(_BUILDS, key=lambda kind: kind != likeliest)
    return "\n".join(
        f"for {_BUILDS[kind]}: CMAKE_ARGS=-DGGML_{kind}=on pip install --force-reinstall"
        " --no-cache-dir --no-binary llama-cpp-python 'llama-cpp-python>=0.3.36,<0.4'"
        for kind in kinds
    )


def gpu_settings(cores: dict[str, LlamaCorePart], build: BuildInfo) -> Iterator[Finding]:
    """Find the settings of GPUs that this build or this machine cannot follow."""
    for name, core in cores.items():
        key = f"cores.{name}"
        if core.gpu_layers and not build.gpu_offload:
            fix = f"set {key}.gpu_layers = 0, or install a build for the GPU:\n{install_commands()}"
            text = f"{key}.gpu_layers = {core.gpu_layers}, but this build is for the CPU only"
            yield Finding("broken", "GPU", text, fix)
        elif core.gpu_layers and core.main_gpu >= build.gpus:
            text = f"{key}.main_gpu = {core.main_gpu}, but llama.cpp sees {build.gpus} GPUs"
            yield Finding("broken", "GPU", text, "count from 0")
        elif not core.gpu_layers and core.model_fields_set & {"main_gpu", "split_mode"}:
            text = f"{key}: main_gpu and split_mode do nothing while gpu_layers is 0"
            yield Finding("note", "GPU", text, f"set {key}.gpu_layers = -1")


def _gpu(cores: dict[str, LlamaCorePart], build: BuildInfo) -> Finding:
    what = f"backends: {', '.join(build.backends) or 'none listed'}"
    what += f"; devices: {', '.join(build.devices) or 'none listed'}"
    if not build.gpu_offload:
        return Finding("note", "GPU", f"a build for the CPU only; {what}", install_commands())
    is_wanted = any(core.gpu_layers for core in cores.values())
    unused = "" if is_wanted else "to use it set gpu_layers = -1 for a core"
    return Finding("ok", "GPU", f"llama.cpp can use it; {what}", unused)


def _models(cores: dict[str, LlamaCorePart], loaded: LoadedConfig) -> list[Finding]:
    limits = loaded.config.limits
    pool = open_pool(limits)
    text = f"{in_words(pool.budget_bytes)} for all models together"
    if not limits.model_memory_mb:
        text += " (nine tenths of what is free; limits.model_memory_mb sets another figure)"
    return [
        Finding("ok", "model memory", text),
        *(finding for name, core in cores.items() for finding in _room(name, core, loaded, pool)),
    ]


def _room(
    name: str, core: LlamaCorePart, loaded: LoadedConfig, pool: ModelPool
) -> Iterator[Finding]:
    directories = Directories.of(loaded.config, loaded.base)
    try:
        model = resolve_model(core.model, cache_dir=directories.cache, base=directories.base)
    except ConfigError:
        # Told with all else that the configuration names and that is not there.
        return
    settings = llama_settings(name, core, model, loaded.config.limits, directories.cache)
    try:
        plan = check_room(settings, pool)
    except ConfigError as exc:
        yield Finding("broken", "model memory", f"cores.{name}: {exc}")
    else:
        yield Finding("ok", "model memory", f"core {name!r} needs {plan}")
