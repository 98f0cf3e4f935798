"""`aios-mcp doctor`: what works on this machine, what does not, and what to do about it."""

import argparse
import sys
from collections.abc import Awaitable, Iterator
from pathlib import Path

import anyio

from aios_mcp.cli.checks import check_config, check_generation, check_memory, check_python
from aios_mcp.cli.findings import Finding
from aios_mcp.cli.ink import Colour, Ink
from aios_mcp.cli.llama_checks import check_llama
from aios_mcp.config import Config, ConfigError, LoadedConfig, load_config
from backends.llama_cpp import BUNDLED_MODEL

_MARKS: dict[str, tuple[str, Colour]] = {
    "ok": ("✓", "green"),
    "note": ("·", "yellow"),
    "broken": ("✗", "red"),
}


def run(args: argparse.Namespace) -> int:
    """Print every finding as it is made; gives 1 if something is broken."""
    return anyio.run(_run, args)


async def _run(args: argparse.Namespace) -> int:
    ink = Ink(sys.stdout)
    broken = 0
    for check in _checks(args.config):
        for finding in await check:
            mark, colour = _MARKS[finding.state]
            print(f"{ink.paint(mark, colour)} {finding.subject:<14} {finding.text}", flush=True)
            for line in finding.fix.splitlines():
                print(f"{'':16} {ink.paint('→ ' + line, 'dim')}", flush=True)
            broken += finding.state == "broken"
    print(f"\n{broken} broken" if broken else "\nall that is needed works")
    return 1 if broken else 0


def _checks(path: Path | None) -> Iterator[Awaitable[list[Finding]]]:
    yield check_python()
    try:
        loaded = load_config(path)
        yield check_config(loaded)
    except ConfigError as exc:
        loaded = LoadedConfig(config=Config(), base=Path.cwd())  # the rest can be looked at anyway
        yield _as_findings(exc)
    yield check_llama(loaded)
    yield check_generation(BUNDLED_MODEL)
    yield check_memory(loaded)


async def _as_findings(exc: ConfigError) -> list[Finding]:
    return [Finding("broken", "configuration", problem) for problem in exc.problems]
