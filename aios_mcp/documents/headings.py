"""The headings of a Markdown document, each with those above it."""

import re
from collections.abc import Iterator, Sequence

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_NO_PARAGRAPH = re.compile(r" {4}|\t| {0,3}([-*+>|#]|\d+[.)])")
_FRONT_MATTER = "---"

SEPARATOR = " > "


def find_headings(lines: Sequence[str], suffix: str) -> Iterator[tuple[int, str]]:
    """Give the line of each heading, from 0, and the path of headings that leads to it.

    Source: the CommonMark specification; lists and quotes that hold headings are not looked into.
    """
    del suffix
    path: list[tuple[int, str]] = []
    for number, level, title in _headings(lines):
        path = [above for above in path if above[0] < level]
        if title:
            path.append((level, title))
        yield number, SEPARATOR.join(name for _, name in path)


def _headings(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    fence = ""
    begin = _after_front_matter(lines)
    for number in range(begin, len(lines)):
        line = lines[number]
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif mark:
            fence = mark[1]
        elif found := _HEADING.match(line):
            yield number, len(found[1]), (found[2] or "").strip()
        elif number > begin and _is_title(lines, number - 1) and (under := _UNDERLINE.match(line)):
            yield number - 1, 1 if under[1][0] == "=" else 2, lines[number - 1].strip()


def _is_title(lines: Sequence[str], number: int) -> bool:
    """Whether a line can be the one-line paragraph that an underline makes a heading."""
    line = lines[number]
    stands_alone = number == 0 or not lines[number - 1].strip()
    return stands_alone and bool(line.strip()) and not _NO_PARAGRAPH.match(line)


def _after_front_matter(lines: Sequence[str]) -> int:
    if lines[0].rstrip() != _FRONT_MATTER:
        return 0
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == _FRONT_MATTER:
            return number + 1
    return 0
