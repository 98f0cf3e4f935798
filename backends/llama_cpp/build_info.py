"""Tells which llama.cpp is installed and what it can use.

Asked in a process of its own: a library built for another CPU ends the process that loads it.
"""

import ctypes
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol, TypedDict, cast

import anyio

from backends.errors import BackendUnavailableError
from backends.llama_cpp.binding import load_library

_DEADLINE_SECONDS = 30.0
# GGML_BACKEND_DEVICE_TYPE_GPU, and _IGPU for one that is part of the processor.
_GPU_TYPES = (1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInfo:
    """The installed llama.cpp.

    Attributes:
        version: Version of llama-cpp-python.
        gpu_offload: Whether layers can be kept on a GPU.
        features: What it was compiled for and this machine has, such as `AVX2`.
        backends: Kinds of devices it was built for, such as `CPU` and `CUDA`.
        devices: What it can compute on, such as `CPU (Intel(R) Xeon(R))`.
        gpus: How many of them are GPUs.
    """

    version: str
    gpu_offload: bool
    features: tuple[str, ...]
    backends: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    gpus: int = 0


class _BuildFacts(TypedDict):
    version: str
    gpu_offload: bool
    features: list[str]
    backends: list[str]
    devices: list[str]
    gpus: int


class _Ggml(Protocol):
    """The functions of `ggml-backend.h` that list backends and devices."""

    ggml_backend_reg_count: Callable[[], int]
    ggml_backend_reg_get: Callable[[int], int]
    ggml_backend_reg_name: Callable[[int], bytes]
    ggml_backend_dev_count: Callable[[], int]
    ggml_backend_dev_get: Callable[[int], int]
    ggml_backend_dev_name: Callable[[int], bytes]
    ggml_backend_dev_description: Callable[[int], bytes]
    ggml_backend_dev_type: Callable[[int], int]


async def read_build_info() -> BuildInfo:
    """Ask the installed llama.cpp what it is.

    Raises:
        BackendUnavailableError: It is not installed, or ends the process that loads it.
    """
    try:
        with anyio.fail_after(_DEADLINE_SECONDS):
            done = await anyio.run_process(
                [sys.executable, "-P", "-m", "backends.llama_cpp.build_info"],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                check=True,
            )
        facts = cast("_BuildFacts", json.loads(done.stdout.splitlines()[-1]))
    except (subprocess.CalledProcessError, TimeoutError, LookupError, ValueError) as error:
        raise BackendUnavailableError(
            "llama-cpp-python cannot be loaded; reinstall llama-cpp-python>=0.3.36,<0.4"
        ) from error
    return BuildInfo(
        version=facts["version"],
        gpu_offload=facts["gpu_offload"],
        features=tuple(facts["features"]),
        backends=tuple(facts["backends"]),
        devices=tuple(facts["devices"]),
        gpus=facts["gpus"],
    )


def look() -> BuildInfo:
    """Load llama.cpp into this process and look at it.

    Raises:
        LibraryError: It cannot be loaded.
    """
    library = load_library()
    library.llama_backend_init()
    flags = library.llama_print_system_info().decode("utf-8", "replace").split("|")
    ggml = _load_ggml()
    kinds = [] if ggml is None else _each(ggml.ggml_backend_reg_count, ggml.ggml_backend_reg_get)
    devices = [] if ggml is None else _each(ggml.ggml_backend_dev_count, ggml.ggml_backend_dev_get)
    return BuildInfo(
        version=importlib.metadata.version("llama-cpp-python"),
        gpu_offload=library.llama_supports_gpu_offload(),
        features=tuple(
            flag.rpartition(":")[2].split("=")[0].strip() for flag in flags if "= 1" in flag
        ),
        backends=tuple(ggml.ggml_backend_reg_name(each).decode() for each in kinds if ggml),
        devices=tuple(_described(ggml, each) for each in devices if ggml),
        gpus=sum(ggml.ggml_backend_dev_type(each) in _GPU_TYPES for each in devices if ggml),
    )


def _load_ggml() -> _Ggml | None:
    """Give the library below llama.cpp, or None where it does not list what it has."""
    try:
        library: ctypes.CDLL = importlib.import_module("llama_cpp._ggml").libggml
        # Pointers and texts come back as ints unless their types are declared.
        for kind in ("reg", "dev"):
            getattr(library, f"ggml_backend_{kind}_count").restype = ctypes.c_size_t
            get = getattr(library, f"ggml_backend_{kind}_get")
            get.argtypes, get.restype = [ctypes.c_size_t], ctypes.c_void_p
        for name in ("reg_name", "dev_name", "dev_description", "dev_type"):
            function = getattr(library, f"ggml_backend_{name}")
            function.argtypes = [ctypes.c_void_p]
            function.restype = ctypes.c_int if name == "dev_type" else ctypes.c_char_p
    except (ImportError, AttributeError):
        return None
    return cast("_Ggml", library)


def _each(count: Callable[[], int], get: Callable[[int], int]) -> list[int]:
    return [get(at) for at in range(count())]


def _described(ggml: _Ggml, device: int) -> str:
    name = ggml.ggml_backend_dev_name(device).decode()
    return f"{name} ({ggml.ggml_backend_dev_description(device).decode('utf-8', 'replace')})"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(look())) + "\n")
