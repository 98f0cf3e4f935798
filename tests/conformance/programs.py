"""The real command line as a server, and the Node.js programs that judge it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream
from anyio.streams.text import TextReceiveStream

from tests.node_tools import NODE, script

AIOS = str(Path(sys.executable).parent / "aios-mcp")
START_SECONDS = 60.0
RUN_SECONDS = 180.0


def write_config(folder: Path) -> Path:
    """Write a configuration whose data live in the folder, with one downstream server."""
    everything = json.dumps([NODE, script("@modelcontextprotocol/server-everything"), "stdio"])
    path = folder / "aios.toml"
    path.write_text(
        f"""
[kernel]
data_dir = {json.dumps(str(folder / "data"))}
cache_dir = {json.dumps(str(folder / "cache"))}

[memory]
embedder = "static"

[servers.everything]
command = {everything}
"""
    )
    return path


@asynccontextmanager
async def serving(config: Path, *options: str) -> AsyncGenerator[str]:
    """Run `aios-mcp serve --http` for the length of the block; give its base URL."""
    command = [AIOS, "serve", "--config", str(config), "--http", "127.0.0.1:0", *options]
    said: list[str] = []
    listening = anyio.Event()

    async def listen(stderr: ByteReceiveStream) -> None:
        async for text in TextReceiveStream(stderr):
            said.append(text)
            if re.search(r"http://\S+", "".join(said)):
                listening.set()
        listening.set()

    async with (
        await anyio.open_process(command, stdout=subprocess.DEVNULL) as process,
        anyio.create_task_group() as tasks,
    ):
        assert process.stderr is not None
        tasks.start_soon(listen, process.stderr)
        try:
            with anyio.fail_after(START_SECONDS):
                await listening.wait()
            found = re.search(r"http://127\.0\.0\.1:(\d+)", "".join(said))
            assert found is not None, "".join(said)
            yield f"http://localhost:{found[1]}"
        finally:
            if process.returncode is None:
                process.terminate()


async def run_node(package: str, arguments: Sequence[str]) -> "subprocess.CompletedProcess[bytes]":
    """Run a package's program to its end, whatever its exit status."""
    environment = {**os.environ, "MCP_INSPECTOR_SECRET_STORE": "memory", "NO_COLOR": "1"}
    with anyio.fail_after(RUN_SECONDS):
        return await anyio.run_process(
            [NODE, script(package), *arguments], check=False, env=environment
        )
