"""An AI-OS kernel published as a Model Context Protocol server.

`scheduler` and `backends` are plain top-level packages that ship with this one. A foreign package
of the same name in front of them would be imported instead, so the import refuses to go on then.
"""

from importlib.util import find_spec
from pathlib import Path

from aios_mcp.version import __version__

__all__ = ["__version__"]


def _refuse_foreign_packages() -> None:
    home = Path(__file__).resolve().parent.parent
    for name in ("scheduler", "backends"):
        spec = find_spec(name)
        found = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if found != home / name:
            raise ImportError(
                f"aios_mcp needs its own package {name!r}, but Python finds"
                f" {'none' if found is None else str(found)!r};"
                " install aios-mcp in an environment of its own (for example with uvx or pipx)"
            )


_refuse_foreign_packages()
