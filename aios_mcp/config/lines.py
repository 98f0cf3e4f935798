"""Finds the lines on which the keys of a TOML text stand. `tomllib` reads values and gives none.

The text must have passed `tomllib` already, so that only its shape is followed here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import cast

Key = tuple[str | int, ...]
"""A key as a path from the top; entries of arrays are numbers, from 0."""

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY_PART = re.compile(r'[ \t]*(?:([A-Za-z0-9_-]+)|"((?:[^"\\\n]|\\.)*)"|\'([^\'\n]*)\')[ \t]*')
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{1,2}(?!"))?|\'\'\'.*?\'\'\'(?:\'{1,2}(?!\'))?'
    r'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'',
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")
_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(["\\bfnrt]))')
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def find_lines(text: str) -> Mapping[Key, int]:
    """Give the line, from 1, of every table and key; `text` is valid TOML."""
    scan = _Scan(text)
    table: Key = ()
    while scan.skip_space():
        if scan.takes("["):
            table = scan.header()
        else:
            scan.pair(table)
    return scan.lines


def entries(value: object) -> Sequence[tuple[str | int, object]]:
    """Give what a table or an array holds, by key or number; nothing for a plain value."""
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).items())
    if isinstance(value, list | tuple):
        return list(enumerate(cast("Sequence[object]", value)))
    return ()


class _Scan:
    """A place in the text that moves on, and the lines found so far."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._tables: dict[Key, int] = {}
        self.lines: dict[Key, int] = {}

    def skip_space(self) -> bool:
        """Go to the next token; False at the end of the text."""
        self._take(_SPACE)
        return self._at < len(self._text)

    def takes(self, token: str) -> bool:
        """Step over a token if it stands here."""
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def header(self) -> Key:
        """Read the rest of `[table]` or `[[table]]`; gives its path."""
        is_array = self.takes("[")
        path = self._inside_arrays(self._key())
        if is_array:
            at = self._tables.get(path, -1) + 1
            self._tables[path] = at
            self._mark(path)
            path = (*path, at)
        self._mark(path)
        self._at += 2 if is_array else 1
        return path

    def pair(self, table: Key) -> None:
        """Read `key = value`."""
        path = (*table, *self._key())
        self._mark(path, above=len(table))
        self._at += 1
        self._value(path)

    def _value(self, path: Key) -> None:
        self.skip_space()
        if self.takes("["):
            self._array(path)
        elif self.takes("{"):
            self._inline_table(path)
        elif not self._take(_STRING):
            self._take(_SCALAR)

    def _array(self, path: Key) -> None:
        at = 0
        while self.skip_space() and not self.takes("]"):
            self._mark((*path, at))
            self._value((*path, at))
            self.skip_space()
            self.takes(",")
            at += 1

    def _inline_table(self, path: Key) -> None:
        while self.skip_space() and not self.takes("}"):
            self.pair(path)
            self.skip_space()
            self.takes(",")

    def _key(self) -> Key:
        parts: list[str] = []
        while True:
            found = self._take(_KEY_PART)
            assert found is not None, "the text is valid TOML"
            bare, basic, literal = found.groups()
            parts.append(_unescaped(basic) if basic is not None else bare or literal or "")
            if not self.takes("."):
                return tuple(parts)

    def _inside_arrays(self, path: Key) -> Key:
        """Point names of arrays of tables at their last entry, as TOML does."""
        full: Key = ()
        for step in path[:-1]:
            full = (*full, step)
            if full in self._tables:
                full = (*full, self._tables[full])
        return (*full, path[-1])

    def _mark(self, path: Key, above: int = 0) -> None:
        """Note the line here for a path, and for tables that it brings into being."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        for size in range(above + 1, len(path) + 1):
            self.lines.setdefault(path[:size], self._line)

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found


def _unescaped(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        return chr(int(code, 16)) if code else _SHORT.get(found[3], found[3])

    return _ESCAPE.sub(plain, text)
