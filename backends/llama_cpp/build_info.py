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


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInfo:
    """The installed llama.cpp.

    Attributes:
        version: Version of llama-cpp-python.
        gpu_offload: Whether layers can be kept on a GPU.
        features: What it was compiled for and this machine has, such as `AVX2`.
        devices: What it can compute on, such as `CPU (Intel(R) Xeon(R))`.
    """

    version: str
    gpu_offload: bool
    features: tuple[str, ...]
    devices: tuple[str, ...]


class _BuildFacts(TypedDict):
    version: str
    gpu_offload: bool
    features: list[str]
    devices: list[str]


class _Ggml(Protocol):
    """The functions of `ggml-backend.h` that list devices."""

    ggml_backend_dev_count: Callable[[], int]
    ggml_backend_dev_get: Callable[[int], int]
    ggml_backend_dev_name: Callable[[int], bytes]
    ggml_backend_dev_description: Callable[[int], bytes]


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
        devices=tuple(facts["devices"]),
    )


def look() -> BuildInfo:
    """Load llama.cpp into this process and look at it.

    Raises:
        LibraryError: It cannot be loaded.
    """
    library = load_library()
    library.llama_backend_init()
    flags = library.llama_print_system_info().decode("utf-8", "replace").split("|")
    return BuildInfo(
        version=importlib.metadata.version("llama-cpp-python"),
        gpu_offload=library.llama_supports_gpu_offload(),
        features=tuple(
            flag.rpartition(":")[2].split("=")[0].strip() for flag in flags if "= 1" in flag
        ),
        devices=_devices(),
    )


def _devices() -> tuple[str, ...]:
    try:
        library: ctypes.CDLL = importlib.import_module("llama_cpp._ggml").libggml
        # Pointers and texts come back as ints unless their types are declared.
        library.ggml_backend_dev_count.restype = ctypes.c_size_t
        library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
        library.ggml_backend_dev_get.restype = ctypes.c_void_p
        for function in (library.ggml_backend_dev_name, library.ggml_backend_dev_description):
            function.argtypes = [ctypes.c_void_p]
            function.restype = ctypes.c_char_p
    except (ImportError, AttributeError):
        return ()
    ggml = cast("_Ggml", library)
    pointers = [ggml.ggml_backend_dev_get(at) for at in range(ggml.ggml_backend_dev_count())]
    return tuple(
        f"{ggml.ggml_backend_dev_name(pointer).decode()}"
        f" ({ggml.ggml_backend_dev_description(pointer).decode('utf-8', 'replace')})"
        for pointer in pointers
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(look())) + "\n")
