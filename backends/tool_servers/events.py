"""Server-sent events, read in linear time and bounded memory (WHATWG HTML, section 9.2)."""

from dataclasses import dataclass

from backends.tool_servers.lines import Line, LineSplitter

_FIELD_ROOM_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """One event; `id` and `retry_seconds` are those it brought itself, if any."""

    kind: str
    payload: Line
    id: str | None = None
    retry_seconds: float | None = None


class EventReader:
    """Cuts a byte stream into events. Of an event above `limit_bytes` the middle is lost."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lines = LineSplitter(limit_bytes + _FIELD_ROOM_BYTES)
        self._clear()

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Take bytes as they arrive; give the events they finish."""
        events: list[ServerEvent] = []
        for line in self._lines.feed(chunk):
            content = line.content.removesuffix(b"\r")
            if content:
                self._add(content, line.size_bytes - (len(line.content) - len(content)))
                continue
            if self._has_any:
                events.append(self._event())
            self._clear()
        return events

    def _clear(self) -> None:
        self._kind = "message"
        self._data: list[bytes] = []
        self._size = 0
        self._id: str | None = None
        self._retry: float | None = None
        self._has_any = False

    def _add(self, content: bytes, size_bytes: int) -> None:
        name, _, value = content.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._has_any = True
            # What the field's name takes is the same in a line that was cut.
            size = size_bytes - (len(content) - len(value))
            self._size += size + (1 if self._data else 0)
            if self._size <= self._limit or not self._data:
                self._data.append(value)
        elif name == b"event":
            self._kind = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._has_any = True
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self._has_any = True
            self._retry = int(value) / 1000

    def _event(self) -> ServerEvent:
        return ServerEvent(
            kind=self._kind,
            payload=Line(b"\n".join(self._data), self._size),
            id=self._id,
            retry_seconds=self._retry,
        )
