"""Run benchmarks by name."""

import argparse
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import Figure, table

NAMES = ("scheduler", "kernel", "memory", "gateway", "llm")


def main(argv: list[str] | None = None) -> int:
    """Run the named benchmarks; 1 where `--check` finds a bar missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES)
    parser.add_argument("--all", action="store_true", help="run every benchmark")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, at most 50 seconds")
    parser.add_argument("--check", action="store_true", help="exit 1 where a bar is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args(argv)
    if not options.all and options.name is None:
        parser.error("name a benchmark, or --all")
    figures: list[Figure] = []
    for name in NAMES if options.all else (options.name,):
        module = importlib.import_module(f"benchmarks.{name}_benchmark")
        print(f"\n{name}")
        measured: list[Figure] = module.run(quick=options.quick)
        print(table(measured))
        figures += measured
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    return int(options.check and not all(figure.is_reached for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
