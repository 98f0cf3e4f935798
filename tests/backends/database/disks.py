"""A disk that remembers what was asked of it, so that a loss of power can be tried at any point."""

import random
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import apsw
from typing_extensions import Buffer

_NAME = "remembering"
Survivors: TypeAlias = Literal["none", "all", "some"]
"""Which of the writes since a file's last sync are on the disk after the loss of power."""


def checkpoint_often(connection: apsw.Connection) -> None:
    """Let few writes do before a checkpoint, so that a short run has some."""
    connection.execute("PRAGMA wal_autocheckpoint = 8").fetchall()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing asked of the disk, or something noted beside.

    Attributes:
        name: The file's name, or the note.
        at: Offset of a write, size after a truncation.
    """

    what: Literal["write", "truncate", "sync", "delete", "note"]
    name: str
    at: int = 0
    data: bytes = b""


@dataclass(slots=True)
class Disk:
    """What was asked of the disk, in order."""

    steps: list[Step] = field(default_factory=list[Step])

    def note(self, text: str) -> None:
        """Mark a point in time."""
        self.steps.append(Step("note", text))

    def noted_before(self, end: int) -> set[str]:
        """Give the notes among the first `end` steps."""
        return {step.name for step in self.steps[:end] if step.what == "note"}

    def after_each_write(self) -> list[int]:
        """Count the steps up to each write between the first note and the last."""
        notes = [number for number, step in enumerate(self.steps) if step.what == "note"]
        return [
            number + 1
            for number in range(notes[0], notes[-1])
            if self.steps[number].what == "write"
        ]

    def lose_power(
        self, end: int, directory: Path, survivors: Survivors, rng: random.Random
    ) -> None:
        """Write the files as they are when the power fails after `end` steps."""
        contents: dict[str, bytearray] = {}
        pending: dict[str, list[Step]] = {}
        for step in self.steps[:end]:
            if step.what == "note":
                continue
            waiting = pending.setdefault(step.name, [])
            if step.what == "delete":
                contents.pop(step.name, None)
                del pending[step.name]
            elif step.what == "sync":
                _apply(contents.setdefault(step.name, bytearray()), waiting)
                waiting.clear()
            else:
                waiting.append(step)
        for name, waiting in pending.items():
            kept = [
                s
                for s in waiting
                if survivors == "all" or (survivors == "some" and rng.random() < 0.5)
            ]
            _apply(contents.setdefault(name, bytearray()), kept)
        for name, content in contents.items():
            (directory / name).write_bytes(content)


def _apply(content: bytearray, steps: Sequence[Step]) -> None:
    for step in steps:
        if step.what == "truncate":
            del content[step.at :]
        else:
            content.extend(bytes(max(0, step.at - len(content))))
            content[step.at : step.at + len(step.data)] = step.data


class _RememberingFile(apsw.VFSFile):
    def __init__(
        self, disk: Disk, base: str, name: apsw.URIFilename | str | None, flags: list[int]
    ) -> None:
        super().__init__(base, name, flags)
        text = name.filename() if isinstance(name, apsw.URIFilename) else name or "temporary"
        self._disk, self._name = disk, Path(text).name

    def xWrite(self, data: Buffer, offset: int) -> None:
        self._disk.steps.append(Step("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.steps.append(Step("truncate", self._name, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._disk.steps.append(Step("sync", self._name))
        super().xSync(flags)


class _RememberingVFS(apsw.VFS):
    def __init__(self, disk: Disk, base: str) -> None:
        super().__init__(_NAME, base, makedefault=True)
        self._disk, self._base = disk, base

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:
        return _RememberingFile(self._disk, self._base, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._disk.steps.append(Step("delete", Path(filename).name))
        super().xDelete(filename, syncdir)


@contextmanager
def remembering() -> Generator[Disk]:
    """Let every database opened in the block be on a disk that remembers."""
    usual = apsw.vfs_names()[0]
    disk = Disk()
    vfs = _RememberingVFS(disk, usual)
    try:
        yield disk
    finally:
        apsw.set_default_vfs(usual)
        vfs.unregister()
