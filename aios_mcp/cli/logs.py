"""Logging of the command line: to stderr alone, since on stdio stdout is the wire."""

import logging
import sys
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]

_OURS = ("aios_mcp", "scheduler", "backends")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Lines(logging.Formatter):
    """One line a record; extra values as key=value, quoted so that none can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        extras = "".join(
            f" {key}={value!r}" for key, value in vars(record).items() if key not in _STANDARD
        )
        line = f"aios-mcp: {record.levelname.lower()}: {record.getMessage()}{extras}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logging(level: Level) -> None:
    """Send records of at least `level` to stderr; of other packages only warnings and errors."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    own = getattr(logging, level.upper())
    logging.basicConfig(handlers=[handler], level=max(own, logging.WARNING), force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(own)
