"""`aios-mcp memory export` and `import`: memories as JSON Lines on stdout, and from a file."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from aios_mcp.cli.errors import FAILURE, CommandError
from aios_mcp.cli.memory_documents import Progress
from aios_mcp.kernel import Agent, Kernel
from aios_mcp.transfers.calls import read_memories
from aios_mcp.transfers.importing import Importer, read_file
from aios_mcp.transfers.lines import BadLineError, header, write_record

_MOST_NAMED = 20


async def export_memories(kernel: Kernel, agent: Agent, args: argparse.Namespace) -> int:
    """Write all memories that the agent may read."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="strict")  # whatever the terminal's is
    print(header(agent.name, datetime.now(UTC)))
    async for record in read_memories(kernel, agent, args.namespace):
        print(write_record(record))
    return 0


async def import_memories(kernel: Kernel, agent: Agent, args: argparse.Namespace) -> int:
    """Add what a file holds; gives 1 if some of it could not be."""
    try:
        entries = list(read_file(_read(args.file), args.format))
    except BadLineError as exc:
        raise CommandError(f"{args.file}: {exc}") from exc
    progress = Progress(len(entries), "memories")
    done = await Importer(kernel, agent, args.namespace).run(entries, progress.step)
    progress.end()
    for number, problem in done.problems[:_MOST_NAMED]:
        progress.note(f"{args.file}:{number}: left out: {problem}")
    if len(done.problems) > _MOST_NAMED:
        progress.note(f"and {len(done.problems) - _MOST_NAMED} more")
    print(f"{done.added} added, {done.present} already there, {len(done.problems)} left out")
    return FAILURE if done.problems else 0


def _read(file: str) -> str:
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise CommandError(f"{file}:{line}: not UTF-8; nothing was imported") from exc
