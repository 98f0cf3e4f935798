"""Anticipated failures as lines for a person. All others are bugs and keep their traceback."""

from collections.abc import Iterator
from typing import cast

from aios_mcp.cli.errors import FAILURE, USAGE, CommandError, CommandFailure
from aios_mcp.config import ConfigError
from aios_mcp.errors import KernelError
from aios_mcp.model_files import ModelPullError
from aios_mcp.server.http import HttpStartError, OpenToAllError
from backends.errors import BackendError, StoreError


def explain(exc: Exception) -> CommandFailure | None:
    """Give what to print for a failure, or None if some part of it was not anticipated."""
    lines: list[str] = []
    code = FAILURE
    for leaf in leaves(exc):
        match leaf:
            case ConfigError() | KernelError():
                lines += str(leaf).splitlines()
                code = USAGE
            case CommandError():
                lines += str(leaf).splitlines()
                code = leaf.exit_code
            case BackendError() | StoreError() | ModelPullError():
                lines.append(str(leaf))
            case HttpStartError():
                lines.append(str(leaf))
                code = USAGE if isinstance(leaf, OpenToAllError) else FAILURE
            case OSError():
                name = f"{leaf.filename}: " if leaf.filename else ""
                lines.append(name + (leaf.strerror or str(leaf) or type(leaf).__name__))
            case _:
                return None
    return CommandFailure(lines=tuple(dict.fromkeys(lines)), exit_code=code)


def leaves(exc: BaseException) -> Iterator[BaseException]:
    """Give the single exceptions of a group, or the exception itself."""
    if isinstance(exc, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", exc).exceptions:
            yield from leaves(inner)
    else:
        yield exc
