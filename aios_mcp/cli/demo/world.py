"""What the tour needs: a throw-away kernel, configured with two agents and a downstream server."""

import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mcp import Client, StdioServerParameters, stdio_client

from aios_mcp.cli.demo import notebook_server
from aios_mcp.cli.hosts import own_command

ANSWER_SECONDS = 30.0

_CONFIG = """\
[kernel]
data_dir = "data"
default_agent = "ada"

[agents.ada]                     # may use the notebook, but delete nothing
tools  = ["notebook.*"]
deny   = ["*.delete_*"]
memory = {{ read = ["self/*"], write = ["self/*"] }}
llm    = {{ tiers = ["balanced"], tokens_per_day = 100000 }}

[agents.guest]                   # may use no tools, and few tokens
memory = {{ read = ["self/*"], write = ["self/*"] }}
llm    = {{ tiers = ["balanced"], tokens_per_day = 300 }}

[cores.demo]
backend = "llama_cpp"
model = "bundled"
tiers = ["balanced"]

[servers.notebook]
command = {command}
"""


@dataclass(frozen=True, slots=True)
class World:
    """A directory with a configuration, and a file that takes what the servers log."""

    folder: Path
    log: TextIO

    @asynccontextmanager
    async def connect(self, agent: str) -> AsyncGenerator[Client]:
        """Start `aios-mcp serve` for an agent as a host does, and connect to it."""
        command, *before = own_command()
        config = str(self.folder / "aios.toml")
        server = StdioServerParameters(
            command=command,
            args=[*before, "serve", "--config", config, "--agent", agent],
            env=dict(os.environ),
        )
        transport = stdio_client(server, errlog=self.log)
        async with Client(transport, read_timeout_seconds=ANSWER_SECONDS) as client:
            yield client

    def logged(self, lines: int) -> str:
        """Give the last lines that the servers logged."""
        text = (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


@contextmanager
def open_world() -> Generator[World]:
    """Make the directory, and remove it at the end."""
    # -P: a program's own directory is else the first place where it looks for modules.
    notebook = [sys.executable, "-P", notebook_server.__file__]
    with tempfile.TemporaryDirectory(prefix="aios-demo-") as name:
        folder = Path(name)
        config = _CONFIG.format(command=json.dumps(notebook))
        (folder / "aios.toml").write_text(config, encoding="utf-8")
        with (folder / "server.log").open("w", encoding="utf-8") as log:
            yield World(folder, log)
