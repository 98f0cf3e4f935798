"""`aios-mcp init`: a commented configuration, and what to paste into a host."""

import argparse
import os
from pathlib import Path

from aios_mcp.cli.config_template import TEMPLATE
from aios_mcp.cli.hosts import snippets
from aios_mcp.config import default_path, load_config


def run(args: argparse.Namespace) -> int:
    """Write the configuration unless it is there, and print the snippets."""
    path = Path(os.path.expanduser(args.config or default_path())).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
        print(f"wrote {path}")
    except FileExistsError:
        load_config(path)  # what a host would start must be sound
        print(f"{path} is there already and stays as it is")
    arguments = ["serve"] if path == default_path() else ["serve", "--config", str(path)]
    for snippet in snippets(arguments):
        print(f"\n{snippet.host}: {snippet.place}\n\n{snippet.text}")
    print("\nThen restart the host. `aios-mcp doctor` says what works on this machine.")
    return 0
