"""The Node.js programs of tests/node: peers and judges that the tests run."""

import json
import shutil
from pathlib import Path

MODULES = Path(__file__).parent / "node" / "node_modules"


def _node() -> str:
    pinned = next(MODULES.glob("node-linux-*/bin/node"), None)
    found = str(pinned) if pinned else shutil.which("node")
    return found or "node"


NODE = _node()
"""A Node of version 22 or newer: the pinned one, or the system's where none is for this machine."""


def script(package: str) -> str:
    """Give the path of a package's program, to be run by `NODE`."""
    folder = MODULES / package
    manifest = folder / "package.json"
    if not manifest.exists():
        raise FileNotFoundError(f"{package} is not installed: run `make setup-test`")
    program: str | dict[str, str] = json.loads(manifest.read_text())["bin"]
    return str(folder / (program if isinstance(program, str) else next(iter(program.values()))))
