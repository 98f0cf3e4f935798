"""What a sound configuration names and may still not be there: secrets, models, commands."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from aios_mcp.config import ConfigError, LoadedConfig, resolve_secret
from aios_mcp.config.core_parts import LlamaCorePart
from aios_mcp.config.model import ServerPart
from aios_mcp.directories import Directories, absolute
from aios_mcp.model_files import resolve_model


def missing_references(loaded: LoadedConfig) -> tuple[str, ...]:
    """Give one line for each thing that the configuration names and that cannot be used."""
    return tuple(map(loaded.located, _problems(loaded)))


def _problems(loaded: LoadedConfig) -> Iterator[str]:
    config, base = loaded.config, loaded.base
    directories = Directories.of(config, base)

    model = partial(resolve_model, cache_dir=directories.cache, base=base)
    for name, agent in config.agents.items():
        if agent.token is not None:
            yield from _try(f"agents.{name}.token", partial(resolve_secret, agent.token, base))
    for name, core in config.cores.items():
        if isinstance(core, LlamaCorePart):
            yield from _try(f"cores.{name}.model", partial(model, core.model))
        elif core.api_key is not None:
            yield from _try(f"cores.{name}.api_key", partial(resolve_secret, core.api_key, base))
    if config.memory.embedder not in {"auto", "static"}:
        yield from _try("memory.embedder", partial(model, config.memory.embedder))
    if config.memory.password is not None:
        yield from _try("memory.password", partial(resolve_secret, config.memory.password, base))
    for name, server in config.servers.items():
        yield from _server_problems(name, server, base)


def _server_problems(name: str, server: ServerPart, base: Path) -> Iterator[str]:
    for table, values in (("env", server.env), ("headers", server.headers)):
        for key, value in values.items():
            if value.startswith(("env:", "file:")):
                resolve = partial(resolve_secret, value, base)
                yield from _try(f"servers.{name}.{table}.{key}", resolve)
    if server.command and not is_found(server, base):
        yield (
            f"servers.{name}.command: there is no program {server.command[0]!r}; install it, or"
            " give its full path"
        )


def is_found(server: ServerPart, base: Path) -> bool:
    """Whether the program of a stdio server can be started from here."""
    folder = base if server.cwd is None else absolute(server.cwd, base)
    program = server.command[0]
    if os.sep in program:
        program = str(folder / program)
    return shutil.which(program, path=server.env.get("PATH")) is not None


def _try(key: str, use: Callable[[], object]) -> Iterator[str]:
    try:
        use()
    except ConfigError as exc:
        yield from (f"{key}: {problem}" for problem in exc.problems)
