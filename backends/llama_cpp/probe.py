"""Finds out, at the cost of a throw-away process, whether llama.cpp's fast CPU path works here.

GCC 12 miscompiles the set-up of Intel's matrix tiles (AMX) in ggml: every decode of more than one
token then ends the process (https://github.com/ggml-org/llama.cpp/pull/26954). Where the CPU has
AMX, a probe decodes a few tokens first; if that dies, the worker runs without extra buffers.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import anyio
from anyio import to_thread

from backends.llama_cpp.frames import Start, encode_frame
from backends.llama_cpp.machine import Machine
from backends.llama_cpp.spawn import open_worker

logger = logging.getLogger(__name__)

_FILE_NAME = "llama_cpp_probe.json"


async def extra_buffers_work(
    start: Start, machine: Machine, cache_dir: Path | None, deadline_seconds: float
) -> bool:
    """Whether the model can be run with extra buffers; asks a process where it is not known.

    Raises:
        TimeoutError: The probe did not end before the deadline.
    """
    if not machine.has_amx or start["gpu_layers"] < 0:
        return True
    key = await to_thread.run_sync(_fingerprint, Path(start["model"]), machine)
    known = await to_thread.run_sync(_read_verdicts, cache_dir)
    if key in known:
        return known[key]
    works = await _try({**start, "probe": True, "extra_buffers": True}, deadline_seconds)
    logger.info("probed the extra buffers of llama.cpp", extra={"works": works})
    if cache_dir is not None:
        await to_thread.run_sync(_write_verdicts, cache_dir, {**known, key: works})
    return works


async def _try(start: Start, deadline_seconds: float) -> bool:
    code = 0
    with anyio.fail_after(deadline_seconds):
        async with open_worker() as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            await process.stdin.send(encode_frame(start))
            async with anyio.create_task_group() as group:
                group.start_soon(_drain, process.stdout)
                group.start_soon(_drain, process.stderr)
                code = await process.wait()
    # A failure to load is no verdict on the CPU: the worker will say what is wrong.
    return code >= 0


async def _drain(stream: anyio.abc.ByteReceiveStream) -> None:
    async for _ in stream:
        pass


def _fingerprint(model: Path, machine: Machine) -> str:
    """What the verdict depends on: the model file, the library, the CPU."""
    file = model.stat()
    spec = importlib.util.find_spec("llama_cpp")
    parts = [file.st_size, file.st_mtime_ns, machine.cpu]
    if spec is not None and spec.origin is not None:
        parts.append(importlib.metadata.version("llama-cpp-python"))
        for library in sorted((Path(spec.origin).parent / "lib").glob("*ggml-cpu*")):
            parts += [library.stat().st_size, library.stat().st_mtime_ns]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _read_verdicts(cache_dir: Path | None) -> Mapping[str, bool]:
    if cache_dir is None:
        return {}
    try:
        found: object = json.loads((cache_dir / _FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        key: value
        for key, value in cast("dict[str, object]", found).items()
        if isinstance(value, bool)
    }


def _write_verdicts(cache_dir: Path, verdicts: Mapping[str, bool]) -> None:
    """Write all verdicts at once; a cache that cannot be written costs a probe, nothing more."""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        fresh = cache_dir / f".{_FILE_NAME}.{os.getpid()}"
        fresh.write_text(json.dumps(verdicts, sort_keys=True), encoding="utf-8")
        fresh.replace(cache_dir / _FILE_NAME)
    except OSError:
        logger.warning("the verdict of the llama.cpp probe could not be kept", exc_info=True)
