"""`aios-mcp models`: which models are on this machine, and fetching more."""

import argparse
import sys

from aios_mcp.config import load_config
from aios_mcp.directories import Directories
from aios_mcp.model_downloads import pull_model
from aios_mcp.model_files import list_models

_MB = 1_000_000


def run(args: argparse.Namespace) -> int:
    """List the models, or fetch one."""
    loaded = load_config(args.config)
    cache = Directories.of(loaded.config, loaded.base).cache
    if args.verb == "pull":
        path = pull_model(args.spec, cache, _Progress())
        print(f"{args.spec} is ready: {path}")
        return 0
    for model in list_models(cache):
        print(f"{model.size_bytes / _MB:10.1f} MB  {model.spec}")
    return 0


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
