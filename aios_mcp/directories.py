"""Where files live."""

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from aios_mcp.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Directories:
    """The directories of one kernel.

    Attributes:
        base: What relative paths of the configuration start from.
        data: Memories, audit trail and the kernel's key.
        cache: Models, which can be fetched or made again.
    """

    base: Path
    data: Path
    cache: Path

    @classmethod
    def of(cls, config: Config, base: Path) -> "Directories":
        """Take them from a configuration, or the user's own where it names none."""
        part = config.kernel
        data = part.data_dir or platformdirs.user_data_dir("aios-mcp", appauthor=False)
        cache = part.cache_dir or platformdirs.user_cache_dir("aios-mcp", appauthor=False)
        return cls(base=base, data=absolute(data, base), cache=absolute(cache, base))


def absolute(path: str, base: Path) -> Path:
    """Give a configured path in full: `~` is the user's home, a relative one starts from `base`."""
    return base / os.path.expanduser(path)
