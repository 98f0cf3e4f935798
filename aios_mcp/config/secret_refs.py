"""Secrets by reference: the configuration says where a secret is, this module fetches it."""

import logging
import os
import stat
from pathlib import Path

from aios_mcp.config.errors import ConfigError

_MAX_BYTES = 64 * 1024

logger = logging.getLogger(__name__)


def resolve_secret(ref: str, base: Path) -> str:
    """Give the secret that `env:VARIABLE` or `file:PATH` names; one line end is taken off a file.

    Args:
        ref: The reference.
        base: What a relative path starts from.

    Raises:
        ConfigError: It names nothing, nothing readable, or nothing but space.
    """
    kind, _, name = ref.partition(":")
    secret = _from_environment(name) if kind == "env" else _from_file(name, base)
    if not secret.strip():
        raise ConfigError(f"{ref}: the secret is empty")
    return secret


def _from_environment(name: str) -> str:
    secret = os.environ.get(name)
    if secret is None:
        raise ConfigError(
            f"env:{name}: the environment variable {name!r} is not set; set it where aios-mcp is"
            " started (in a host's configuration: under env)"
        )
    return secret


def _from_file(name: str, base: Path) -> str:
    path = base / os.path.expanduser(name)
    try:
        if not path.is_file():
            raise ConfigError(f"file:{name}: there is no file {str(path)!r}; put the secret there")
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
            is_open = os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077
        text = raw.decode()
    except OSError as exc:
        raise ConfigError(f"file:{name}: cannot be read ({exc.strerror})") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"file:{name}: is not UTF-8 text") from exc
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"file:{name}: is larger than {_MAX_BYTES} bytes, so it is no secret")
    if is_open:
        logger.warning(
            "a secret's file can be read by other users; run chmod 600 on it",
            extra={"file": str(path)},
        )
    return text.removesuffix("\n").removesuffix("\r")
