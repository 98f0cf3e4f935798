"""What must hold of the tree itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_layers_hold() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    subprocess.run([program, "--no-cache"], cwd=ROOT, check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("name", ["scheduler", "backends"])
def test_a_foreign_package_of_the_same_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-c", "import aios_mcp"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert f"aios_mcp needs its own package '{name}'" in done.stderr


def test_the_lock_files_name_no_registry_and_hash_everything() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        text = lock.read_text()
        assert "://" not in text, lock.name
        pins = [line for line in text.splitlines() if "==" in line and not line.startswith("#")]
        assert pins, lock.name
        assert all(line.endswith("\\") for line in pins), lock.name
    node = ROOT / "tests" / "node" / "package-lock.json"
    assert '"resolved": "http' not in node.read_text()


def test_every_python_file_is_short_enough_to_read_in_one_sitting() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for package in ("aios_mcp", "scheduler", "backends", "benchmarks", "scripts", "examples")
        for path in (ROOT / package).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    ]
    assert not long
