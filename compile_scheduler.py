"""Compiles the scheduler with mypyc, from the very files that run without it.

    AIOS_MCP_COMPILE=1 pip install .     installs it compiled, by the build hook below
    python compile_scheduler.py          compiles a copy into .venv/compiled, for the benchmark

It is a choice, as it makes the wheel one for this platform and takes half a minute of a compiler.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
TARGET = ROOT / ".venv" / "compiled"
SECONDS = 600


class CompiledScheduler(BuildHookInterface[Any]):
    """Puts the compiled modules into the wheel, beside the sources that they are made of."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Name what the build needs besides hatchling."""
        return ["mypy>=2.4", "setuptools"] if _is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is packed; an editable one stays as it is."""
        if version == "editable" or not _is_wanted():
            return
        target = Path(tempfile.mkdtemp())
        compile_into(target)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for module in target.rglob("*.so"):
            build_data["force_include"][str(module)] = str(module.relative_to(target))


def compile_into(target: Path) -> None:
    """Compile a copy of the scheduler into a folder.

    Raises:
        subprocess.CalledProcessError: The compiler failed; stderr has its words.
    """
    shutil.rmtree(target, ignore_errors=True)
    package = target / "scheduler"
    shutil.copytree(ROOT / "scheduler", package, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "mypyc", "--ignore-missing-imports", "scheduler/"]
    subprocess.run(command, cwd=target, stdout=sys.stderr, timeout=SECONDS, check=True)
    shutil.rmtree(target / "build")
    (target / "sources").write_text(_sources())


def find_compiled() -> Path | None:
    """Give the folder with the compiled copy, if it was made of the present sources."""
    made_of = TARGET / "sources"
    return TARGET if made_of.exists() and made_of.read_text() == _sources() else None


def _sources() -> str:
    files = sorted((ROOT / "scheduler").rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _is_wanted() -> bool:
    return os.environ.get("AIOS_MCP_COMPILE") == "1"


if __name__ == "__main__":
    compile_into(TARGET)
