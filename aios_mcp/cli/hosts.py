"""What to paste into an MCP host so that it starts this installation."""

import json
import shlex
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CLAUDE_DESKTOP = {
    "darwin": "~/Library/Application Support/Claude/claude_desktop_config.json",
    "win32": r"%APPDATA%\Claude\claude_desktop_config.json",
}


@dataclass(frozen=True, slots=True)
class Snippet:
    """Text for one host, and where it goes."""

    host: str
    place: str
    text: str


def own_command() -> tuple[str, ...]:
    """Give the absolute command that starts this very installation."""
    script = Path(sysconfig.get_path("scripts")) / "aios-mcp"
    return (str(script),) if script.is_file() else (sys.executable, "-m", "aios_mcp")


def snippets(arguments: Sequence[str]) -> tuple[Snippet, ...]:
    """Give the snippets of the hosts we know for `aios-mcp ARGUMENTS`."""
    command, *before = own_command()
    entry: dict[str, object] = {"command": command, "args": [*before, *arguments]}
    desktop = _CLAUDE_DESKTOP.get(sys.platform, "~/.config/Claude/claude_desktop_config.json")
    line = shlex.join(["claude", "mcp", "add", "aios", "--", command, *before, *arguments])
    return (
        Snippet("Claude Desktop", desktop, _json("mcpServers", entry)),
        Snippet("Claude Code", "on the command line", line),
        Snippet("VS Code", ".vscode/mcp.json", _json("servers", {"type": "stdio", **entry})),
        Snippet("Cursor", ".cursor/mcp.json", _json("mcpServers", entry)),
    )


def _json(key: str, entry: dict[str, object]) -> str:
    return f'{{\n  "{key}": {{\n    "aios": {json.dumps(entry)}\n  }}\n}}'
