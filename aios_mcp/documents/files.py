"""Finds the files that are documents and reads them as text."""

import codecs
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

MAX_FILE_BYTES = 4 << 20

_NOT_OURS = frozenset({"node_modules", "__pycache__", "CVS"})
_MARKERS = ("pyvenv.cfg", "CACHEDIR.TAG")
_MOST_MANGLED = 0.05  # of the characters; with more it is no UTF-8 text


class DocumentFile(NamedTuple):
    """A file and the name it is known by: the root's own name, and its path below, with `/`."""

    path: Path
    name: str


class UnreadableError(Exception):
    """A file is no document; the text says why."""


class BinaryFileError(UnreadableError):
    """A file is no text at all."""


def root_name(root: Path) -> str:
    """Give the name by which what is below a root is known."""
    return root.resolve().name


def find_files(root: Path, exclude: Sequence[str] = ()) -> Iterator[DocumentFile]:
    """Give the files below a root in a stable order, or the root itself if it is one.

    Left out are links, hidden files and directories (those of version control are), packages and
    caches that programs put there, and whatever matches a pattern, by its name below the root.

    Raises:
        OSError: The root cannot be read.
    """
    if not root.is_dir():
        root.stat()
        yield DocumentFile(root, root_name(root))
        return
    for path in _walk(root, root, exclude):
        yield DocumentFile(path, f"{root_name(root)}/{path.relative_to(root).as_posix()}")


def read_text(path: Path) -> str:
    """Read a document; bytes that are not UTF-8 become U+FFFD.

    Raises:
        UnreadableError: It is too large, or not UTF-8; a `BinaryFileError` if no text.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    if b"\0" in content:
        raise BinaryFileError("it is binary")
    text = content.decode("utf-8-sig", "replace")
    mangled = text.count("\N{REPLACEMENT CHARACTER}")
    if mangled > _MOST_MANGLED * len(text):
        raise UnreadableError("it is not UTF-8 text")
    return text


def _walk(directory: Path, root: Path, exclude: Sequence[str]) -> Iterator[Path]:
    with os.scandir(directory) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    if directory != root and any(entry.name in _MARKERS for entry in entries):
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith(".") or entry.name in _NOT_OURS or entry.is_symlink():
            continue
        name = path.relative_to(root).as_posix()
        if any(fnmatchcase(name, pattern) for pattern in exclude):
            continue
        if entry.is_dir():
            yield from _walk(path, root, exclude)
        elif entry.is_file():
            yield path
