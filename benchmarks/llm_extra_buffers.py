"""What llama.cpp's fast CPU path (extra buffers: AMX, or weights packed anew) is worth here.

Each run is a process of its own, `python -m benchmarks.llm_extra_buffers MODEL [on|off]`, since a
miscompiled AMX path ends the process.
"""

import subprocess
import sys
import time
from pathlib import Path

import llama_cpp.llama_cpp as lib

from backends.llama_cpp.machine import read_machine
from benchmarks.figures import Figure

ROWS = 16
_STEPS = 40
_RUN_SECONDS = 60.0


def extra_buffers(model: Path, *, rounds: int) -> Figure:
    """Compare decoding of 16 sequences with extra buffers and without, best of some rounds."""
    has_amx = read_machine().has_amx
    with_them, without = (max(_run(model, state) for _ in range(rounds)) for state in ("on", "off"))
    name = "quantised model, 16 sequences: tokens per second with AMX / without"
    if not has_amx:
        name = "quantised model, 16 sequences: tokens per second with extra buffers / without"
    return Figure(
        name=name,
        value=with_them / without,
        unit="x",
        bar=2.5 if has_amx else None,
        better="higher",
        peer=f"{with_them:.0f}/s, without: {without:.0f}/s"
        + ("" if has_amx else "; this CPU has no AMX, so there is no bar"),
    )


def _run(model: Path, state: str) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.llm_extra_buffers", str(model), state],
        capture_output=True,
        timeout=_RUN_SECONDS,
        check=False,
    )
    # A process that was ended by a signal decodes nothing: the build is not sound here.
    return float(done.stdout.split()[-1]) if done.returncode == 0 else 0.0


def _tokens_per_second(model: Path, *, is_on: bool) -> float:
    lib.llama_backend_init()
    how = lib.llama_model_default_params()
    how.use_extra_bufts = is_on
    how.n_gpu_layers = 0
    loaded = lib.llama_model_load_from_file(str(model).encode(), how)
    if loaded is None:
        raise RuntimeError("the model cannot be loaded")
    sizes = lib.llama_context_default_params()
    sizes.n_ctx, sizes.n_seq_max, sizes.n_threads = 64 * ROWS, ROWS, 1
    context = lib.llama_init_from_model(loaded, sizes)
    if context is None:
        raise RuntimeError("no context could be made")
    batch = lib.llama_batch_init(ROWS, 0, 1)
    batch.n_tokens = ROWS
    started = 0.0
    for step in range(_STEPS + 1):
        for row in range(ROWS):
            batch.token[row], batch.pos[row], batch.logits[row] = 7 * row + step, step, 1
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, row
        if lib.llama_decode(context, batch):
            raise RuntimeError("llama_decode failed")
        # The first step also makes the graph.
        started = started or time.perf_counter()
    return ROWS * _STEPS / (time.perf_counter() - started)


if __name__ == "__main__":
    print(_tokens_per_second(Path(sys.argv[1]), is_on=sys.argv[2] == "on"))
