"""A small MCP server: a notebook of text files in one directory.

    python examples/notebook_server.py DIRECTORY

Put it behind aios-mcp with

    [servers.notebook]
    command = ["python", "examples/notebook_server.py", "DIRECTORY"]

and its tools are `notebook.list_notes`, `notebook.read_note` and so on.
"""

import argparse
import re
from pathlib import Path
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

# A name that cannot leave the directory: no dots, no slashes.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

Name = Annotated[str, Field(pattern=_NAME, description="Name of a note, such as groceries")]

READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITES = ToolAnnotations(idempotent_hint=True, destructive_hint=False, open_world_hint=False)
DELETES = ToolAnnotations(idempotent_hint=True, destructive_hint=True, open_world_hint=False)


class Notebook:
    """Notes as files; each method is published as a tool under its own name."""

    def __init__(self, directory: Path) -> None:
        self._directory = anyio.Path(directory)

    async def list_notes(self) -> list[str]:
        """List the names of all notes."""
        names = [path.stem async for path in self._directory.glob("*.txt")]
        return sorted(name for name in names if re.match(_NAME, name))

    async def read_note(self, name: Name) -> str:
        """Read a note."""
        return await (await self._existing(name)).read_text(encoding="utf-8")

    async def write_note(self, name: Name, text: Annotated[str, Field(max_length=100_000)]) -> str:
        """Write a note; one of the same name is replaced."""
        await self._path(name).write_text(text, encoding="utf-8")
        return f"Wrote {len(text)} characters to {name!r}."

    async def delete_note(self, name: Name) -> str:
        """Delete a note for good."""
        await (await self._existing(name)).unlink()
        return f"Deleted {name!r}."

    async def count_words(
        self, context: Context, pause_seconds: Annotated[float, Field(ge=0, le=10)] = 0.2
    ) -> dict[str, int]:
        """Count the words of each note, taking a pause after each: a slow tool with progress."""
        names = await self.list_notes()
        counts: dict[str, int] = {}
        for done, name in enumerate(names, start=1):
            counts[name] = len((await self.read_note(name)).split())
            await context.report_progress(done, len(names), f"counted {name}")
            await anyio.sleep(pause_seconds)
        return counts

    def _path(self, name: str) -> anyio.Path:
        return self._directory / f"{name}.txt"

    async def _existing(self, name: str) -> anyio.Path:
        path = self._path(name)
        if not await path.is_file():
            raise ToolError(f"There is no note {name!r}; list_notes shows those there are.")
        return path


def build(directory: Path) -> MCPServer:
    """Give the server for a directory."""
    server = MCPServer("notebook", instructions="Short texts, kept as files.", log_level="WARNING")
    notebook = Notebook(directory)
    server.add_tool(notebook.list_notes, title="List notes", annotations=READS)
    server.add_tool(notebook.read_note, title="Read a note", annotations=READS)
    server.add_tool(notebook.write_note, title="Write a note", annotations=WRITES)
    server.add_tool(notebook.delete_note, title="Delete a note", annotations=DELETES)
    server.add_tool(notebook.count_words, title="Count words", annotations=READS)
    return server


def main() -> None:
    """Serve a notebook over stdio."""
    parser = argparse.ArgumentParser(description="An MCP server that keeps notes as files.")
    parser.add_argument("directory", type=Path, help="where the notes are; made if missing")
    directory: Path = parser.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    build(directory).run("stdio")


if __name__ == "__main__":
    main()
