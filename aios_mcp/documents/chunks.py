"""Cuts a document into chunks that each fit into one memory and make sense alone."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aios_mcp.documents.definitions import find_definitions
from aios_mcp.documents.headings import find_headings

BYTES_PER_TOKEN = 4

_NEW_LINE = re.compile(r"\r\n?|\n")
_MARKDOWN = (".md", ".markdown", ".mdx", ".qmd", ".rmd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of a document.

    Attributes:
        text: What stands there, without blank lines around it.
        first_line: From 1.
        last_line: Included.
        title: The headings or the definition it stands under, or "".
    """

    text: str
    first_line: int
    last_line: int
    title: str


class Start(NamedTuple):
    """Where a section begins: the number of its first line, from 0."""

    line: int
    title: str


def cut(text: str, *, suffix: str, max_tokens: int) -> list[Chunk]:
    """Cut a document by its headings or its definitions, and what is too long at blank lines.

    Args:
        text: The whole document.
        suffix: Ending of its name, such as `.md`, which tells its language.
        max_tokens: Largest chunk, estimated at four bytes a token.
    """
    lines = _NEW_LINE.split(text)
    find = find_headings if suffix.lower() in _MARKDOWN else find_definitions
    starts = [Start(*found) for found in find(lines, suffix.lower())]
    most = max_tokens * BYTES_PER_TOKEN
    return [
        chunk
        for title, first, end in _sections(starts, lines)
        for chunk in _pack(lines, _blocks(lines, first, end, most), title, most)
    ]


def _sections(starts: Sequence[Start], lines: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    bounds = [Start(0, ""), *starts]
    for (first, title), end in zip(
        bounds, [*(start.line for start in starts), len(lines)], strict=True
    ):
        if any(line.strip() for line in lines[first:end]):
            yield title, first, end


class _Block(NamedTuple):
    """Lines that belong together, or a part of one line that is too long alone."""

    first: int
    end: int
    text: str
    size: int


def _blocks(lines: Sequence[str], first: int, end: int, most: int) -> Iterator[_Block]:
    """Give paragraphs; of those that are too long, lines; of those, parts."""
    start = first
    for number in range(first, end + 1):
        if number < end and lines[number].strip():
            continue
        if start < number:
            block = _block(lines, start, number)
            yield from (block,) if block.size <= most else _parts(lines, start, number, most)
        start = number + 1


def _parts(lines: Sequence[str], first: int, end: int, most: int) -> Iterator[_Block]:
    for number in range(first, end):
        line = _block(lines, number, number + 1)
        if line.size <= most:
            yield line
            continue
        for text in _pieces(line.text, most):
            yield _Block(number, number + 1, text, len(text.encode()))


def _block(lines: Sequence[str], first: int, end: int) -> _Block:
    text = "\n".join(lines[first:end])
    return _Block(first, end, text, len(text.encode()))


def _pieces(line: str, most: int) -> Iterator[str]:
    """Cut a line after a space where there is one in its last quarter, else anywhere."""
    rest = line.encode()
    while len(rest) > most:
        end = rest.rfind(b" ", most - most // 4, most) + 1 or most
        while rest[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        yield rest[:end].decode()
        rest = rest[end:]
    yield rest.decode()


def _pack(lines: Sequence[str], blocks: Iterable[_Block], title: str, most: int) -> Iterator[Chunk]:
    """Put blocks together as long as they fit; lines between them come along."""
    kept: _Block | None = None
    for block in blocks:
        joined = block if kept is None else _block(lines, kept.first, block.end)
        if kept is not None and joined.size > most:  # so it is if both are parts of one line
            yield _chunk(kept, title)
            joined = block
        kept = joined
    if kept is not None:
        yield _chunk(kept, title)


def _chunk(block: _Block, title: str) -> Chunk:
    return Chunk(text=block.text, first_line=block.first + 1, last_line=block.end, title=title)
