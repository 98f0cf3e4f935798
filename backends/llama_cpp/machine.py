"""What this computer has: CPU features, physical cores, memory."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_MEMORY_INFO = Path("/proc/meminfo")
_LIMITS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The parts of a computer that decide how a model is run.

    Attributes:
        cpu: Name of the CPU, or "" where it cannot be told.
        has_amx: Whether the CPU has Intel's matrix tiles.
        cores: Physical cores this process may use, at least 1.
        memory_bytes: Main memory this process may use; 0 where it cannot be told.
        spare_bytes: How much of it was free when it was looked at, or could be freed at once.
    """

    cpu: str
    has_amx: bool
    cores: int
    memory_bytes: int
    spare_bytes: int = 0

    @property
    def default_threads(self) -> int:
        """All cores but one: with a busy core among them, llama.cpp's threads wait spinning."""
        return max(1, self.cores - 1)


def read_machine(limits: Path = _LIMITS) -> Machine:
    """Look at this computer, and at the limits of its container. Blocks for some milliseconds."""
    text = _read(_CPU_INFO)
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    places = re.findall(r"^physical id\s*:\s*(\d+)$.*?^core id\s*:\s*(\d+)$", text, re.M | re.S)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = re.match(r"(\d+) (\d+)", _read(limits / "cpu.max"))
    if quota is not None:
        # Threads beyond the quota would spin while the others are stopped.
        usable = min(usable or 1, max(1, int(quota[1]) // int(quota[2])))
    memory_bytes = _memory_bytes(_read(limits / "memory.max"))
    return Machine(
        cpu=name.group(1) if name else "",
        has_amx=re.search(r"^flags\s*:.*\bamx_tile\b", text, re.MULTILINE) is not None,
        cores=max(1, min(len(set(places)) or usable or 1, usable or 1)),
        memory_bytes=memory_bytes,
        spare_bytes=_spare_bytes(memory_bytes, limits),
    )


def _memory_bytes(limit: str) -> int:
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        whole = 0
    # Without a limit the text is `max`.
    return min(whole or int(limit), int(limit)) if limit.strip().isdigit() else whole


def _spare_bytes(memory_bytes: int, limits: Path) -> int:
    available = re.search(r"^MemAvailable:\s*(\d+) kB$", _read(_MEMORY_INFO), re.MULTILINE)
    spare = int(available[1]) * 1024 if available else memory_bytes
    used = _read(limits / "memory.current").strip()
    if used.isdigit():
        # Pages of files count as used, but are given up before anything is refused.
        cached = re.search(r"^inactive_file (\d+)$", _read(limits / "memory.stat"), re.MULTILINE)
        held = int(used) - (int(cached[1]) if cached else 0)
        spare = min(spare, max(0, memory_bytes - held))
    return spare


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
