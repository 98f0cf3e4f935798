"""Simulate every workload under every policy: `python -m benchmarks.simulator [--plots FOLDER]`."""

import argparse
import sys
from pathlib import Path

from benchmarks.simulator.comparison import WORKLOADS, compare, table
from benchmarks.simulator.plots import draw


def main(argv: list[str] | None = None) -> int:
    """Print a table for each workload; with `--plots`, draw them too."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulator", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="simulated time of each run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--plots", type=Path, metavar="FOLDER", help="write PNG images there; needs matplotlib"
    )
    options = parser.parse_args(argv)
    if options.plots is not None:
        options.plots.mkdir(parents=True, exist_ok=True)
    for name, workload in WORKLOADS.items():
        results = compare(workload, seconds=options.seconds, seed=options.seed)
        print(f"\n{name}: {workload.says}\n{table(results)}", flush=True)
        if options.plots is not None:
            draw(options.plots / f"{name}.png", f"{name}: {workload.says}", results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
