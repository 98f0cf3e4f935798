"""`aios-mcp models`: which models are on this machine, fetching more, and deleting them."""

import argparse
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime

from aios_mcp.config import load_config
from aios_mcp.directories import Directories
from aios_mcp.model_downloads import pull_model
from aios_mcp.model_files import LocalModel, list_models
from aios_mcp.model_removal import remove_model
from aios_mcp.model_use import named_models
from backends.llama_cpp import LlamaSettings
from backends.llama_cpp.gguf_info import ModelFileError, read_model_info
from backends.llama_cpp.memory_plan import in_words, plan_memory

_MB = 1_000_000
_HEADINGS = ("MODEL", "SIZE", "FORMAT", "CONTEXT", "MEMORY", "LAST USED")


def run(args: argparse.Namespace) -> int:
    """List the models, fetch one, or delete one."""
    loaded = load_config(args.config)
    cache = Directories.of(loaded.config, loaded.base).cache
    if args.verb == "pull":
        path = pull_model(args.spec, cache, _Progress())
        print(f"{args.spec} is ready: {path}")
    elif args.verb == "rm":
        used = dict(named_models(loaded.config, cache_dir=cache, base=loaded.base))
        freed = remove_model(args.spec, cache, used=used)
        print(f"{args.spec} is deleted; that frees {freed / _MB:.1f} MB")
    else:
        _print_table([_HEADINGS, *(_row(model) for model in list_models(cache))])
    return 0


def _row(model: LocalModel) -> tuple[str, ...]:
    last_read = model.last_read
    size = f"{model.size_bytes / _MB:.1f} MB"
    try:
        info = read_model_info(model.path)
    except ModelFileError as exc:
        return (model.spec, size, str(exc), "", "", "")
    finally:
        # Looking at a model is not using it.
        with suppress(OSError):
            os.utime(model.path, (last_read, model.path.stat().st_mtime))
    plan = plan_memory(info, LlamaSettings(model=model.path, name=model.spec))
    return (
        model.spec,
        size,
        info.quantization,
        f"{info.context_tokens:,}",
        in_words(plan.total_bytes),
        datetime.fromtimestamp(last_read, UTC).date().isoformat(),
    )


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


class _Progress:
    """Tells how far a download is: in place on a terminal, else at every tenth."""

    def __init__(self) -> None:
        self._last = ("", -1)

    def __call__(self, name: str, here: int, whole: int) -> None:
        percent = 100 * here // whole if whole else 0
        is_terminal = sys.stderr.isatty()
        now = (name, percent if is_terminal else percent // 10)
        if now == self._last:
            return
        self._last = now
        end = "\n" if not is_terminal or here == whole else "\r"
        print(
            f"{name}  {here / _MB:.1f} of {whole / _MB:.1f} MB  {percent}%",
            end=end,
            file=sys.stderr,
        )
