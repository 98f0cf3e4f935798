"""Which models are in use: those that a configuration names, and those that a kernel has open.

A kernel holds a lock on each model's file for as long as it lives, however it ends.
"""

import fcntl
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from aios_mcp.config import Config, ConfigError
from aios_mcp.config.core_parts import LlamaCorePart
from aios_mcp.model_files import resolve_model


def named_models(config: Config, *, cache_dir: Path, base: Path) -> Iterator[tuple[Path, str]]:
    """Give the files of a configuration's models, each with its key; "" if it does not name it."""
    specs = {
        f"cores.{name}.model": core.model
        for name, core in config.cores.items()
        if isinstance(core, LlamaCorePart)
    }
    embedder = config.memory.embedder
    specs |= {"": "minilm"} if embedder == "auto" else {"memory.embedder": embedder}
    for key, spec in specs.items():
        # What is not here, or is no model, is not in use either.
        with suppress(ConfigError):
            yield resolve_model(spec, cache_dir=cache_dir, base=base).resolve(), key


@contextmanager
def hold_models(paths: Iterable[Path]) -> Generator[None]:
    """Have `is_held` say of models that they are in use, for the length of the block."""
    with ExitStack() as stack:
        for path in paths:
            file = stack.enter_context(path.open("rb"))
            # A file system without locks, or a `models rm` just now, must not keep a kernel down.
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield


def is_held(path: Path) -> bool:
    """Whether a kernel on this machine has a model open."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
    return False
