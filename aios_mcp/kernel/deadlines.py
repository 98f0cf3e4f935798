"""Deadlines that say in the caller's words what took too long."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio


@contextmanager
def deadline(seconds: float, error: Callable[[str], Exception], what: str) -> Generator[float]:
    """Bound a block in time; gives the deadline on anyio's clock.

    Args:
        seconds: Longest time the block may take.
        error: Makes the exception that is raised instead of a bare time-out.
        what: What took too long, for its text.
    """
    with anyio.move_on_after(seconds) as scope:
        yield scope.deadline
    if scope.cancelled_caught:
        raise error(f"{what} did not end within {seconds:g} s, the call's deadline")
