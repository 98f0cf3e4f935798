"""Distil the static table from the installed weights."""

import argparse
from pathlib import Path

from backends.embedding.static import TABLE
from backends.embedding.weights import read_minilm
from scripts.static_embedder.distill import distill


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(prog="python -m scripts.static_embedder", description=__doc__)
    parser.add_argument("--target", type=Path, default=TABLE)
    options = parser.parse_args()
    print(f"{options.target}: {distill(read_minilm(), options.target):,} bytes")


if __name__ == "__main__":
    main()
