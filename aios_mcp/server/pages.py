"""Lists in pages, always in the same order, with cursors that mean nothing to a client."""

import base64
import binascii
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from mcp_types import PaginatedRequestParams

from aios_mcp.server.errors import unknown

PAGE_SIZE = 100

T = TypeVar("T")


class Page(NamedTuple, Generic[T]):
    """Some entries of a list, and where it goes on; None at its end."""

    entries: list[T]
    next_cursor: str | None


def page(entries: Sequence[T], params: PaginatedRequestParams | None) -> Page[T]:
    """Cut out the page that was asked for.

    Raises:
        MCPError: The cursor is none of ours.
    """
    cursor = None if params is None else params.cursor
    start = 0 if cursor is None else _offset(cursor)
    end = start + PAGE_SIZE
    return Page(list(entries[start:end]), _cursor(end) if end < len(entries) else None)


def _cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(f"from:{offset}".encode()).decode()


def _offset(cursor: str) -> int:
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise unknown("cursor", cursor) from None
    offset = text.removeprefix("from:")
    if not text.startswith("from:") or not offset.isdecimal() or len(offset) > 9:
        raise unknown("cursor", cursor)
    return int(offset)
