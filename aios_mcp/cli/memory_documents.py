"""`aios-mcp memory add-documents`: files as memories, with how far it is on stderr."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from aios_mcp.cli.errors import FAILURE, USAGE, CommandError
from aios_mcp.documents.files import (
    BinaryFileError,
    DocumentFile,
    UnreadableError,
    find_files,
    root_name,
)
from aios_mcp.documents.library import Change, Library
from aios_mcp.kernel import Agent, Kernel
from aios_mcp.kernel.calls import DEFAULT_NAMESPACE

_BAR = 24


async def add_documents(kernel: Kernel, agent: Agent, args: argparse.Namespace) -> int:
    """Bring the memories of files up to date; gives 1 if a file could not be taken."""
    files = _files(args.paths, args.exclude)
    library = Library(
        kernel=kernel,
        agent=agent,
        namespace=args.namespace or DEFAULT_NAMESPACE,
        kind=args.kind,
        tags=tuple(args.tag),
        max_tokens=args.max_tokens,
    )
    await library.look()
    changes: list[Change] = []
    refused = 0
    progress = Progress(len(files), "files")
    for file in files:
        progress.step(file.name)
        try:
            changes.append(await library.put(file))
        except BinaryFileError:
            continue
        except UnreadableError as exc:
            progress.note(f"{file.path}: left out: {exc}")
            refused += 1
        except OSError as exc:
            progress.note(f"{file.path}: left out: {exc.strerror}")
            refused += 1
    progress.end()
    gone = 0
    if args.prune:
        gone = await library.prune(map(root_name, args.paths), [file.name for file in files])
    print(_summary(changes, gone))
    return FAILURE if refused else 0


class Progress:
    """How far a command is: a bar on a terminal, nothing elsewhere."""

    def __init__(self, total: int, what: str) -> None:
        self._total = total
        self._what = what
        self._done = 0
        self._is_shown = sys.stderr.isatty()

    def step(self, name: str) -> None:
        """Show that one more is at work."""
        self._done += 1
        if self._is_shown:
            filled = _BAR * self._done // max(1, self._total)
            bar = "█" * filled + "░" * (_BAR - filled)
            text = f"{bar} {self._done} of {self._total} {self._what}  {name}"
            self._write(text[: shutil.get_terminal_size().columns - 1])

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._write(f"aios-mcp: {text}\n")

    def end(self) -> None:
        """Take the bar away."""
        self._write("")

    def _write(self, text: str) -> None:
        back = "\r\x1b[K" if self._is_shown else ""
        print(f"{back}{text}", end="", file=sys.stderr, flush=True)


def _files(paths: Sequence[Path], exclude: Sequence[str]) -> list[DocumentFile]:
    roots: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise CommandError(f"{path}: there is no such file or directory", exit_code=USAGE)
        other = roots.setdefault(root_name(path), path)
        if other.resolve() != path.resolve():
            raise CommandError(
                f"{other} and {path} have the same name, by which their memories are known; add"
                " them by themselves, each with a --namespace of its own",
                exit_code=USAGE,
            )
    return [file for root in roots.values() for file in find_files(root, exclude)]


def _summary(changes: Sequence[Change], gone: int) -> str:
    unchanged = sum(not (each.added or each.forgotten) for each in changes)
    new = sum(bool(each.added) and not (each.kept or each.forgotten) for each in changes)
    lines = (
        f"{len(changes)} documents: {new} new, {len(changes) - new - unchanged} changed,"
        f" {unchanged} unchanged, {gone} forgotten",
        f"{sum(each.added for each in changes)} memories added,"
        f" {sum(each.forgotten for each in changes)} replaced or forgotten,"
        f" {sum(each.kept for each in changes)} kept",
    )
    return "\n".join(lines)
