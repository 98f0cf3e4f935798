"""Starting and restarting a worker, and what is known of the machine and the build."""

import dataclasses
import math
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from trio.testing import MockClock

from backends.errors import BackendUnavailableError
from backends.llama_cpp import LlamaSettings, open_llama_core
from backends.llama_cpp.back_off import BACK_OFF_SECONDS
from backends.llama_cpp.build_info import read_build_info
from backends.llama_cpp.frames import Start
from backends.llama_cpp.machine import Machine, read_machine
from backends.llama_cpp.probe import extra_buffers_work
from backends.llama_cpp.starting import start_command
from tests.backends.llama_cpp.asking import (
    DEADLINE_SECONDS,
    ENDLESS_TOKENS,
    request,
    worker_pids,
)
from tests.backends.pieces import Pieces


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])
async def test_a_core_that_keeps_failing_is_tried_again_only_after_its_back_off(
    tmp_path: Path, language: LlamaSettings
) -> None:
    model = tmp_path / "model.gguf"
    # The clock jumps while the file is read on a thread: no deadline may lie within its reach.
    patient = dataclasses.replace(language, model=model, room_deadline_seconds=math.inf)
    async with open_llama_core(patient) as core:

        async def fail(reason: str) -> None:
            with pytest.raises(BackendUnavailableError, match=reason):
                await core.generate(request("hello"), Pieces().emit)

        await fail("does not exist")
        for wait in BACK_OFF_SECONDS[1:]:
            await fail("does not exist")
            model.write_text("not a model")
            await fail("does not exist")
            model.unlink()
            assert 0.0 < core.status().resting_seconds <= wait
            await anyio.sleep(wait)
            assert core.status().resting_seconds == 0.0


def start_of(model: Path) -> Start:
    settings = LlamaSettings(model=model, name="probed", slots=1, threads=1)
    return start_command(settings, "generate", read_machine(), ())


async def test_the_verdict_of_a_probe_is_remembered_for_the_same_model_and_cpu(
    models: Path, tmp_path: Path
) -> None:
    machine = Machine(cpu="some cpu", has_amx=True, cores=1, memory_bytes=0)
    start = start_of(models / "language.gguf")

    with anyio.fail_after(DEADLINE_SECONDS):
        first = await extra_buffers_work(start, machine, tmp_path, DEADLINE_SECONDS)
    # No process starts within no time: the second answer comes from the cache.
    again = await extra_buffers_work(start, machine, tmp_path, 0.0)
    other = dataclasses.replace(machine, cpu="another cpu")
    with pytest.raises(TimeoutError):
        await extra_buffers_work(start, other, tmp_path, 0.0)

    assert first == again


async def test_a_probe_that_dies_by_a_signal_turns_the_extra_buffers_off(tmp_path: Path) -> None:
    machine = Machine(cpu="some cpu", has_amx=True, cores=1, memory_bytes=0)
    # The probe waits for the pipe's other end: so the test knows when it is under way.
    pipe = tmp_path / "model.gguf"
    os.mkfifo(pipe)

    async def end_the_probe() -> None:
        descriptor = await to_thread.run_sync(os.open, pipe, os.O_WRONLY)
        for pid in worker_pids():
            os.kill(pid, signal.SIGKILL)
        os.close(descriptor)

    with anyio.fail_after(DEADLINE_SECONDS):
        async with anyio.create_task_group() as group:
            group.start_soon(end_the_probe)
            works = await extra_buffers_work(start_of(pipe), machine, tmp_path, DEADLINE_SECONDS)
            assert not works
        remembered = await extra_buffers_work(start_of(pipe), machine, tmp_path, 0.0)

    assert not remembered


async def test_a_cpu_without_amx_needs_no_probe(models: Path) -> None:
    machine = Machine(cpu="some cpu", has_amx=False, cores=1, memory_bytes=0)

    assert await extra_buffers_work(start_of(models / "language.gguf"), machine, None, 0.0)


def test_the_limits_of_a_container_count_as_the_machine(tmp_path: Path) -> None:
    whole = read_machine(tmp_path)
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("50000000\n")
    limited = read_machine(tmp_path)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")

    assert (limited.cores, limited.memory_bytes) == (1, 50_000_000)
    again = read_machine(tmp_path)
    assert dataclasses.replace(again, spare_bytes=whole.spare_bytes) == whole


_ORPHANING = """
import sys, anyio
from pathlib import Path
from backends.llama_cpp import LlamaSettings, open_llama_core
from backends.messages import GenerateRequest, Message

async def emit(piece):
    print("under way", flush=True)
    await anyio.sleep_forever()

async def main():
    model, tokens = Path(sys.argv[1]), int(sys.argv[2])
    settings = LlamaSettings(model=model, name="tiny", slots=1, threads=1, context_tokens=tokens)
    async with open_llama_core(settings) as core:
        message = Message("user", "hello")
        await core.generate(GenerateRequest(messages=(message,), max_tokens=tokens - 100), emit)

anyio.run(main)
"""


async def test_a_killed_kernel_leaves_no_worker_behind(models: Path) -> None:
    command = [sys.executable, "-c", _ORPHANING, str(models / "endless.gguf"), str(ENDLESS_TOKENS)]
    with anyio.fail_after(DEADLINE_SECONDS):
        async with await anyio.open_process(command, stderr=None) as kernel:
            assert kernel.stdout is not None
            assert b"under way" in await kernel.stdout.receive()
            [worker] = worker_pids(kernel.pid)
            ended = os.pidfd_open(worker)
            kernel.kill()
            await anyio.wait_readable(ended)
            os.close(ended)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"slots": 0}, "slots"),
        ({"threads": -1}, "threads"),
        ({"kv_type": "q8_0", "flash_attention": "off"}, "kv_type"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_key(
    language: LlamaSettings, change: dict[str, object], key: str
) -> None:
    with pytest.raises(ValueError, match=key):
        dataclasses.replace(language, **change)  # type: ignore[arg-type]


async def test_the_build_tells_its_version_and_its_devices() -> None:
    info = await read_build_info()

    assert info.version.count(".") == 2
    assert any("CPU" in device for device in info.devices)


async def test_layers_on_a_gpu_are_refused_by_a_build_without_one(language: LlamaSettings) -> None:
    if (await read_build_info()).gpu_offload:
        pytest.skip("this build has a GPU")
    async with open_llama_core(dataclasses.replace(language, gpu_layers=-1)) as core:
        with pytest.raises(BackendUnavailableError, match="gpu_layers"):
            await core.generate(request("hello"), Pieces().emit)
