"""Cuts a byte stream into lines, in linear time and bounded memory whatever arrives."""

from dataclasses import dataclass

_KEPT_BYTES = 256


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end.

    Attributes:
        content: The bytes; of a line above the limit only its beginning and its end.
        size_bytes: Length of the line as it came.
    """

    content: bytes
    size_bytes: int

    @property
    def is_cut(self) -> bool:
        """The line was above the limit and its middle is lost."""
        return self.size_bytes != len(self.content)


class LineSplitter:
    """Holds at most `limit_bytes` of an unfinished line; what is above is counted, not kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def pending_bytes(self) -> int:
        """Length of the unfinished line so far."""
        return self._size

    def feed(self, chunk: bytes) -> list[Line]:
        """Take bytes as they arrive; give the lines they finish."""
        first, *rest = chunk.split(b"\n")
        self._add(first)
        lines: list[Line] = []
        for part in rest:
            lines.append(self._take())
            self._add(part)
        return lines

    def _add(self, part: bytes) -> None:
        if not part:
            return
        self._size += len(part)
        self._parts.append(part)
        if self._size > self._limit:
            kept = b"".join(self._parts)
            self._parts = [kept[:_KEPT_BYTES], kept[_KEPT_BYTES:][-_KEPT_BYTES:]]

    def _take(self) -> Line:
        line = Line(b"".join(self._parts), self._size)
        self._parts, self._size = [], 0
        return line
