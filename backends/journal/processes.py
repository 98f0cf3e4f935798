"""Which process this is, and whether another one still lives."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told apart from a later one that is given the same number.

    Attributes:
        pid: Its number.
        started: When it started, in the system's own words; "" where the system does not say.
    """

    pid: int
    started: str

    @classmethod
    def current(cls) -> "Process":
        """Give the running process."""
        return cls(os.getpid(), _started(os.getpid()))

    def is_alive(self) -> bool:
        """Test whether it still runs. In doubt it does: its calls must not be settled twice."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return not self.started or _started(self.pid) == self.started


def _started(pid: int) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{boot}/{fields[19]}"
