"""Our own format: a header, then one memory a line, oldest first, with all that was kept of it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aios_mcp.config.part import NAMESPACE
from backends.messages import FIRST_MOMENT, LAST_MOMENT, MemoryDraft, MemoryRecord

FORMAT = "aios-mcp memories"
VERSION = 1

# Line ends to some programs, though not to JSON.
_LINE_ENDS = str.maketrans({each: f"\\u{ord(each):04x}" for each in "\x85\u2028\u2029"})

Text = Annotated[str, Field(min_length=1, max_length=1 << 20)]
Seconds = Annotated[float, Field(ge=FIRST_MOMENT, le=LAST_MOMENT)]


class BadLineError(Exception):
    """A line is not of the format; the text says what is wrong with it."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Text
    namespace: Annotated[str, Field(pattern=NAMESPACE)]
    content: Text
    kind: Text = "fact"
    tags: list[Text] = []
    data: dict[str, object] | None = None
    links: list[tuple[str, str]] = []
    replaces: str | None = None
    reason: str = ""
    session: str = ""
    importance: Annotated[float, Field(ge=0, le=1)] = 0.5
    created: Seconds | None = None
    expires: Seconds | None = None
    source: dict[str, object] = {}


class Incoming(BaseModel):
    """A memory that is to be imported; ids are those of the file it stands in.

    Attributes:
        line: Number of its line or entry in the file, from 1.
        id: By which others of the file name it.
        namespace: Where it stood; None where the format knows none.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    line: int
    id: str
    namespace: str | None
    draft: MemoryDraft


def header(agent: str, now: datetime) -> str:
    """Write the first line."""
    exported = now.astimezone(UTC).isoformat(timespec="seconds")
    return _dump({"format": FORMAT, "version": VERSION, "agent": agent, "exported": exported})


def write_record(record: MemoryRecord) -> str:
    """Write a memory as a line."""
    draft = record.draft
    return _dump(
        {
            "id": record.id,
            "namespace": record.namespace,
            "content": draft.content,
            "kind": draft.kind,
            "tags": draft.tags,
            "data": draft.data,
            "links": draft.links,
            "replaces": draft.replaces,
            "reason": draft.reason,
            "session": draft.session,
            "importance": draft.importance,
            "created": draft.created,
            "expires": draft.expires,
            "source": draft.source,
        }
    )


def read_header(line: str) -> bool:
    """Whether a line is the header of our format.

    Raises:
        BadLineError: It is that of a newer version.
    """
    value = object_of(line)
    if value.get("format") != FORMAT:
        return False
    version = value.get("version")
    if version != VERSION:
        raise BadLineError(
            f"the file is of format version {version!r}, this program reads {VERSION}; update it"
        )
    return True


def object_of(line: str) -> Mapping[str, object]:
    """Read a JSON object; what is none is an empty one."""
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def read_record(number: int, line: str) -> Incoming:
    """Read a line as a memory.

    Raises:
        BadLineError: It is none.
    """
    try:
        found = _Line.model_validate_json(line)
    except ValidationError as exc:
        raise BadLineError(_first_problem(exc)) from exc
    return Incoming(
        line=number,
        id=found.id,
        namespace=found.namespace,
        draft=MemoryDraft(
            content=found.content,
            kind=found.kind,
            tags=tuple(found.tags),
            data=found.data,
            replaces=found.replaces,
            links=tuple(found.links),
            expires=found.expires,
            source=found.source,
            session=found.session,
            importance=found.importance,
            created=found.created,
            reason=found.reason,
        ),
    )


def _first_problem(exc: ValidationError) -> str:
    problem = exc.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, problem["loc"]))
    return f"{where}: {problem['msg']}" if where else problem["msg"]


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_LINE_ENDS)
