"""What `aios-mcp doctor` has found out about one thing."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `fix` says what to do about it, in one line or several."""

    state: Literal["ok", "note", "broken"]
    subject: str
    text: str
    fix: str = ""
