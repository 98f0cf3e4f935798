"""The scheduler compiled into a wheel behaves as the sources it was made of."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SECONDS = 500
BEHAVIOUR = ("fuzz", "scheduler", "policies", "fair", "pausing", "nesting", "dispatcher", "driver")

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_compiled_scheduler_passes_the_tests_of_the_plain_one(tmp_path: Path) -> None:
    build = ["-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    run(*build, cwd=tmp_path, PIP_NO_INDEX="1", AIOS_MCP_COMPILE="1")
    [wheel] = tmp_path.glob("*.whl")
    assert not wheel.name.endswith("none-any.whl")
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    (unpacked / "tests").symlink_to(ROOT / "tests")
    (unpacked / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())

    found = run("-c", "import scheduler.scheduler as it; print(it.__file__)", cwd=unpacked)
    assert Path(found.strip()).is_relative_to(unpacked)
    assert found.strip().endswith(".so")
    tests = [f"tests/scheduler/test_{name}.py" for name in BEHAVIOUR]
    assert " passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=unpacked)
