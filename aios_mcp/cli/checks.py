"""What `aios-mcp doctor` looks at. Each check gives findings and raises nothing anticipated."""

import importlib.metadata
import platform
import re
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import apsw
import sqlite_vec

from aios_mcp.app import open_embedder
from aios_mcp.cli.findings import Finding
from aios_mcp.cli.references import missing_references
from aios_mcp.config import Config, ConfigError, LoadedConfig
from aios_mcp.directories import Directories
from aios_mcp.memories import COMPONENTS
from backends.database import open_database
from backends.errors import BackendError, StoreError
from backends.journal import SqliteJournal
from backends.llama_cpp import LlamaSettings, open_llama_core
from backends.llama_cpp.machine import read_machine
from backends.memory_store import check_memories
from backends.messages import GenerateRequest, Message, Piece

_DEADLINE_SECONDS = 60.0


async def check_python() -> list[Finding]:
    """Look at Python and at the packages that this one needs."""
    python = Finding("ok", "Python", f"{platform.python_version()} at {sys.executable}")
    try:
        needed = importlib.metadata.requires("aios-mcp") or []
    except importlib.metadata.PackageNotFoundError:
        return [python, Finding("note", "packages", "aios-mcp runs without being installed")]
    always = [each for each in needed if "extra ==" not in each]
    names = [found[0] for each in always if (found := re.match(r"[\w.-]+", each))]
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        fix = "pip install --force-reinstall aios-mcp"
        return [python, Finding("broken", "packages", f"missing: {', '.join(missing)}", fix)]
    return [python, Finding("ok", "packages", f"all {len(names)} are installed")]


async def check_generation(model: Path) -> list[Finding]:
    """Load a model, such as the bundled one, in its worker and let it speak."""
    settings = LlamaSettings(model=model, name=model.stem)
    request = GenerateRequest(messages=(Message("user", "Tell me a story."),), max_tokens=32)
    started = anyio.current_time()
    async with open_llama_core(settings) as core:
        try:
            with anyio.fail_after(_DEADLINE_SECONDS):
                completion = await core.generate(request, _ignore)
        except (BackendError, TimeoutError) as exc:
            fix = "pip install --force-reinstall --no-cache-dir llama-cpp-python"
            return [Finding("broken", "bundled model", str(exc) or "no answer in time", fix)]
        note = core.status().note
    seconds = anyio.current_time() - started
    text = f"wrote {completion.usage.output_tokens} tokens in {seconds:.1f} s, start included"
    findings = [Finding("ok", "bundled model", text)]
    if read_machine().has_amx:
        caution = note.removeprefix(settings.note).removeprefix("; ")
        text = caution or "llama.cpp uses the matrix tiles of this CPU (AMX), and soundly"
        findings.append(Finding("note" if caution else "ok", "fast CPU path", text))
    return findings


async def check_memory(loaded: LoadedConfig) -> list[Finding]:
    """Look at SQLite, the vector extension, the embedder and the database."""
    directories = Directories.of(loaded.config, loaded.base)
    return [
        _sqlite(),
        await _embedder(loaded.config, directories),
        await _database(directories.data / "aios.db"),
    ]


async def check_config(loaded: LoadedConfig) -> list[Finding]:
    """Look at what the configuration names: secrets, models, commands."""
    missing = [
        Finding("broken", "configuration", problem) for problem in missing_references(loaded)
    ]
    file = str(loaded.path or "no file, so all defaults hold")
    return missing or [Finding("ok", "configuration", file)]


def _sqlite() -> Finding:
    try:
        connection = apsw.Connection(":memory:")
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        [(version,)] = connection.execute("SELECT vec_version()").fetchall()
        connection.close()
    except apsw.Error as exc:
        fix = "pip install --force-reinstall apsw sqlite-vec"
        return Finding("broken", "SQLite", f"sqlite-vec does not load ({exc})", fix)
    return Finding("ok", "SQLite", f"{apsw.sqlite_lib_version()}, sqlite-vec {version}")


async def _database(path: Path) -> Finding:
    if not await anyio.Path(path).exists():
        return Finding("ok", "database", f"none yet; it will be made as {path}")
    wrong: list[str] = []
    bad = None
    try:
        async with open_database(path, COMPONENTS) as database:
            wrong = await database.check() or await database.read(check_memories)
            bad = await SqliteJournal(database, now=lambda: 0.0).verify()
    except* StoreError as group:
        wrong = [str(exc) for exc in group.exceptions]
    if wrong:
        fix = "restore it from a backup, or move it away to start anew"
        return Finding("broken", "database", f"{path}: {'; '.join(wrong[:3])}", fix)
    if bad is not None:
        return Finding("broken", "audit trail", f"record {bad} of {path} was changed from outside")
    return Finding("ok", "database", f"{path} is sound, its audit trail unbroken")


async def _embedder(config: Config, directories: Directories) -> Finding:
    async with AsyncExitStack() as stack:
        try:
            embedder = await open_embedder(stack, config, directories)
            with anyio.fail_after(_DEADLINE_SECONDS):
                [vector] = await embedder.embed(["one text"])
        except (BackendError, ConfigError, TimeoutError) as exc:
            return Finding("broken", "embedder", str(exc) or "did not answer in time")
        name = embedder.name
    text = f"{name}, {len(vector)} dimensions"
    if config.memory.embedder == "auto" and "static" in name:
        return Finding("note", "embedder", text, "better search: aios-mcp models pull minilm")
    return Finding("ok", "embedder", text)


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


async def _ignore(_: Piece, /) -> None:
    """Take a piece of the answer that nobody reads."""
