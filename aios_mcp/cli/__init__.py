"""The command line `aios-mcp`, one file per command."""

from aios_mcp.cli.program import main

__all__ = ["main"]
