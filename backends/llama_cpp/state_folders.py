"""Private folders for what paused answers leave behind: one in memory, one on disk.

They belong to the kernel, not to a worker, so that a paused answer outlives its worker.
"""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from backends.llama_cpp.frames import StateFolder
from backends.llama_cpp.settings import LlamaSettings

logger = logging.getLogger(__name__)

_IN_MEMORY = Path("/dev/shm")
_PREFIX = "aios-mcp-paused-"
_MB = 1024 * 1024


@asynccontextmanager
async def open_state_folders(settings: LlamaSettings) -> AsyncGenerator[list[StateFolder]]:
    """Make the folders, fastest first; they are gone when the block is left."""
    folders = await to_thread.run_sync(_make_all, settings)
    try:
        yield folders
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(_remove_all, folders)


def sweep(folders: Collection[StateFolder], keep: Collection[int]) -> None:
    """Remove the files of all calls but those to keep; a worker that has died left them."""
    names = {str(call_id) for call_id in keep}
    for folder in folders:
        for path in Path(folder["path"]).iterdir():
            if path.name not in names:
                path.unlink(missing_ok=True)


def _make_all(settings: LlamaSettings) -> list[StateFolder]:
    parents = [(settings.cache_dir or Path(tempfile.gettempdir()), settings.paused_disk_mb)]
    if _IN_MEMORY.is_dir():
        parents.insert(0, (_IN_MEMORY, settings.paused_memory_mb))
    folders: list[StateFolder] = []
    for parent, limit_mb in parents:
        # Without one of them more goes to the other, or is computed again.
        with contextlib.suppress(OSError):
            folders.append(StateFolder(path=str(_make(parent)), limit_bytes=limit_mb * _MB))
    return folders


def _remove_all(folders: Collection[StateFolder]) -> None:
    for folder in folders:
        shutil.rmtree(folder["path"], ignore_errors=True)


def _make(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_PREFIX}*"):
        # A kernel that was killed removes nothing, and memory is too dear to be left to it.
        if not _is_alive(left.name.removeprefix(_PREFIX).partition("-")[0]):
            logger.info("removing what a killed kernel left", extra={"folder": left.name})
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
