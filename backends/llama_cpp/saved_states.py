"""Files that hold the cells of paused answers, so that their slots can serve others.

The kernel owns the folders (see `backends.llama_cpp.state_folders`) and the worker writes, so that
a worker that has died leaves behind what the next one needs to go on.
"""

import contextlib
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.frames import StateFolder

State = NDArray[np.uint8]
"""Cells of one sequence as llama.cpp writes them, shape `(size_bytes,)`."""

_HEADER = struct.Struct("<QQ")


class SavedState(NamedTuple):
    """Cells of one answer, and how many tokens they stand for."""

    past: int
    state: State


class SavedStates:
    """The states of paused answers, by call id.

    Invariant: a file under its own name is whole; what a folder holds stays within its limit.
    """

    def __init__(self, folders: Sequence[StateFolder]) -> None:
        self._folders = folders

    def save(self, id: int, past: int, state: State) -> None:  # noqa: A002 - the protocol's word
        """Keep a state in the first folder that takes it.

        Where none does it is dropped: the answer's tokens are computed again when it goes on.
        """
        for folder in self._folders:
            path = Path(folder["path"])
            try:
                if _size_of(path) + _HEADER.size + state.nbytes <= folder["limit_bytes"]:
                    _write(path / str(id), past, state)
                    return
            except OSError as error:
                print(f"a paused answer could not be saved: {error}", file=sys.stderr)  # noqa: T201 - stderr is the log
                self.drop(id)

    def take(self, id: int) -> SavedState | None:  # noqa: A002 - the word of the protocol
        """Give a state and remove it; None if there is none."""
        for folder in self._folders:
            path = Path(folder["path"], str(id))
            try:
                with path.open("rb", buffering=0) as file:
                    past, size = _HEADER.unpack(file.read(_HEADER.size) or b"")
                    state = np.fromfile(file, np.uint8)
            except (OSError, struct.error):
                continue
            path.unlink(missing_ok=True)
            return SavedState(past, state) if state.nbytes == size else None
        return None

    def drop(self, id: int) -> None:  # noqa: A002 - the word of the protocol
        """Remove what is kept of a call, if anything is."""
        for folder in self._folders:
            for name in (str(id), f"{id}.part"):
                Path(folder["path"], name).unlink(missing_ok=True)


def _size_of(folder: Path) -> int:
    """Bytes that the files in a folder take; one that is removed meanwhile takes none."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat().st_size
    return total


def _write(path: Path, past: int, state: State) -> None:
    """Write a file that only this user may read; it gets its name when it is whole."""
    part = path.with_name(f"{path.name}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(part, flags, 0o600), "wb") as file:
        file.write(_HEADER.pack(past, state.nbytes))
        state.tofile(file)
    part.rename(path)
