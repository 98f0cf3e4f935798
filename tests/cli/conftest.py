import logging
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cli.commands import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.configure()
    return made


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Generator[None]:
    """Commands that run in this process set logging up for theirs."""
    loggers = [logging.getLogger(name) for name in ("", "aios_mcp", "scheduler", "backends")]
    levels = [logger.level for logger in loggers]
    handlers = list(loggers[0].handlers)
    yield
    loggers[0].handlers = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
