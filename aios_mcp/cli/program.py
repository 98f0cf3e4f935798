"""Runs the command that was asked for. Commands are loaded only then: help must be fast."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType

from aios_mcp.cli.errors import CommandFailure
from aios_mcp.cli.logs import configure_logging
from aios_mcp.cli.parser import build_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `aios-mcp`; gives the exit code: 1 for a failure, 2 for wrong usage or configuration."""
    parsed = build_parser().parse_args(arguments)
    configure_logging("warning")
    reconfigure: Callable[..., None] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")  # a terminal may know less than UTF-8
    try:
        run: Callable[[object], int] = _load(parsed.module).run
        code = run(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has enough of it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as exc:
        explain: Callable[[Exception], CommandFailure | None] = _load("failures").explain
        failure = explain(exc)
        if failure is None:
            raise
        for line in failure.lines:
            print(f"aios-mcp: {line}", file=sys.stderr)
        return failure.exit_code
    return code


def _load(name: str) -> ModuleType:
    return import_module(f"aios_mcp.cli.{name}")
