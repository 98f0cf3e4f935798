"""`aios-mcp demo`: a guided tour with a real client, a real server and a real model."""

from aios_mcp.cli.demo.tour import run

__all__ = ["run"]
