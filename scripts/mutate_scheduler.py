"""Puts seeded faults into a copy of the scheduler, and says which its fast tests do not find.

`python -m scripts.mutate_scheduler` runs all; `--only N ...` some, by number.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.scheduler.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parent.parent
BAR = 0.9
SECONDS = 120
FAST = (
    "test_pausing", "test_nesting", "test_dispatcher", "test_scheduler", "test_policies",
    "test_fair", "test_lanes", "test_fuzz",
)  # fmt: skip


def is_caught(mutation: Mutation) -> bool:
    """Whether a test fails with a fault, or hangs.

    Raises:
        ValueError: The fault does not apply.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "scheduler", copy / "scheduler")
        shutil.copytree(ROOT / "tests" / "scheduler", copy / "tests" / "scheduler")
        (copy / "pytest.ini").write_text("[pytest]\n")
        path = copy / "scheduler" / mutation.file
        path.write_text(apply(mutation, path.read_text()))
        tests = [f"tests/scheduler/{name}.py" for name in FAST]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        try:
            done = subprocess.run(
                command,
                cwd=copy,
                env={**os.environ, "PYTHONPATH": str(copy), "FUZZ_RUNS": "6"},
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return True
        return done.returncode == 1


def apply(mutation: Mutation, text: str) -> str:
    """Give the text with the fault in it.

    Raises:
        ValueError: What it replaces does not occur there exactly once.
    """
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.file}: {mutation.old!r} does not occur exactly once")
    return text.replace(mutation.old, mutation.new)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the faults; 0 if enough of them are found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="+", default=range(len(MUTATIONS)))
    chosen: Sequence[int] = parser.parse_args(arguments).only
    caught = 0
    for number in chosen:
        found = is_caught(MUTATIONS[number])
        caught += found
        if not found:
            print(f"not found: {number}: {MUTATIONS[number]}", flush=True)
    print(f"{caught} of {len(chosen)} faults found")
    return 0 if caught >= BAR * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
