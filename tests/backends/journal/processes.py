"""Processes that end in the middle of their work."""

import signal
import sys
from pathlib import Path

import anyio

ROOT = Path(__file__).parents[3]


async def run_until_killed(program: str, path: Path) -> None:
    """Run a program that kills itself; its argument is a path."""
    with anyio.fail_after(60):
        done = await anyio.run_process(
            [sys.executable, "-c", program, str(path)], cwd=ROOT, check=False
        )
    assert done.returncode == -signal.SIGKILL
