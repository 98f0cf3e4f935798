"""Kinds of memories whose data must fit a schema."""

import pytest

from aios_mcp.errors import InvalidArgumentError
from aios_mcp.kernel.kinds import Kinds
from backends.messages import MemoryDraft

KINDS = Kinds(
    {
        "task": {
            "type": "object",
            "properties": {"due": {"type": "string"}, "hours": {"type": "number"}},
            "required": ["due"],
        }
    }
)


def test_data_that_fits_is_let_in_and_other_kinds_are_free() -> None:
    KINDS.check(MemoryDraft(content="x", kind="task", data={"due": "Friday", "hours": 2}))
    KINDS.check(MemoryDraft(content="x", kind="note"))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "needs 'data'"),
        ({}, "'due' is a required property"),
        ({"due": "Friday", "hours": "two"}, "'data.hours': 'two' is not of type 'number'"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(
    data: dict[str, object] | None, told: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        KINDS.check(MemoryDraft(content="x", kind="task", data=data))
