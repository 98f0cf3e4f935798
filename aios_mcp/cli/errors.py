"""What a command says when it cannot do what it was asked."""

from dataclasses import dataclass

USAGE = 2
FAILURE = 1


class CommandError(Exception):
    """A command stops here; the text is for the person who typed it.

    Attributes:
        exit_code: `USAGE` or `FAILURE`.
    """

    def __init__(self, message: str, *, exit_code: int = FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFailure:
    """How a command ended that could not do its work."""

    lines: tuple[str, ...]
    exit_code: int
