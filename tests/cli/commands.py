"""Runs `aios-mcp` as a person does, in an environment of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Place:
    """A directory in which everything is that a command may touch."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "aios.toml"

    @property
    def data(self) -> Path:
        return self.path / "data"

    def configure(self, text: str = "") -> None:
        self.config.write_text(
            f'[kernel]\ndata_dir = "data"\ncache_dir = "cache"\n{text}', encoding="utf-8"
        )

    def environment(self) -> dict[str, str]:
        own = {"HOME": self.path, "XDG_CONFIG_HOME": self.path, "AIOS_CONFIG": self.config}
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("XDG_")},
            **{key: str(value) for key, value in own.items()},
            "NO_COLOR": "1",
            "PYTHONWARNINGS": "error",
        }

    def run(
        self, *arguments: str, seconds: float = 60, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "aios_mcp", *arguments],
            cwd=ROOT,
            env=self.environment() | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
