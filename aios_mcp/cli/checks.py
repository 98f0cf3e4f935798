"""What `aios-mcp doctor` looks at. Each check gives findings and raises nothing anticipated."""

import importlib.metadata
import platform
import re
import shutil
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
import apsw
import sqlite_vec

from aios_mcp.app import open_embedder
from aios_mcp.cli.references import missing_references
from aios_mcp.config import Config, ConfigError, LoadedConfig
from aios_mcp.config.model import LlamaCorePart
from aios_mcp.directories import Directories
from backends.database import open_database
from backends.errors import BackendError, StoreError
from backends.journal import JOURNAL, SqliteJournal
from backends.llama_cpp import LlamaSettings, open_llama_core
from backends.llama_cpp.build_info import BuildInfo, read_build_info
from backends.llama_cpp.machine import read_machine
from backends.memory_store import MEMORY_STORE, check_memories
from backends.messages import GenerateRequest, Message, Piece

_DEADLINE_SECONDS = 60.0
_REBUILD = "CMAKE_ARGS=-DGGML_{}=on pip install --force-reinstall --no-cache-dir llama-cpp-python"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `fix` says what to do about it."""

    state: Literal["ok", "note", "broken"]
    subject: str
    text: str
    fix: str = ""


async def check_python() -> list[Finding]:
    """Look at Python and at the packages that this one needs."""
    python = Finding("ok", "Python", f"{platform.python_version()} at {sys.executable}")
    try:
        needed = importlib.metadata.requires("aios-mcp") or []
    except importlib.metadata.PackageNotFoundError:
        return [python, Finding("note", "packages", "aios-mcp runs without being installed")]
    names = [found[0] for each in needed if (found := re.match(r"[\w.-]+", each))]
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        fix = "pip install --force-reinstall aios-mcp"
        return [python, Finding("broken", "packages", f"missing: {', '.join(missing)}", fix)]
    return [python, Finding("ok", "packages", f"all {len(names)} are installed")]


async def check_llama(config: Config) -> list[Finding]:
    """Look at the installed llama.cpp, and at what it can use of this machine."""
    try:
        build = await read_build_info()
    except BackendError as exc:
        return [Finding("broken", "llama.cpp", str(exc))]
    features = " ".join(build.features) or "no special CPU features"
    text = f"llama-cpp-python {build.version}, built for {features}"
    return [Finding("ok", "llama.cpp", text), _gpu(config, build)]


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
        async with open_database(path, (JOURNAL, MEMORY_STORE)) as database:
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


def _gpu(config: Config, build: BuildInfo) -> Finding:
    wanted = any(
        isinstance(core, LlamaCorePart) and core.gpu_layers != 0 for core in config.cores.values()
    )
    devices = ", ".join(build.devices) or "none listed"
    if build.gpu_offload:
        unused = "" if wanted else "to use it set gpu_layers = -1 for a core"
        return Finding("ok", "GPU", f"llama.cpp can use it; devices: {devices}", unused)
    kind = "METAL" if sys.platform == "darwin" else "VULKAN"
    if shutil.which("nvidia-smi"):
        kind = "CUDA"
    state: Literal["ok", "note", "broken"] = "broken" if wanted else "note"
    why = "; a core of the configuration sets gpu_layers" if wanted else ""
    return Finding(
        state, "GPU", f"a build for the CPU only{why}", f"for one: {_REBUILD.format(kind)}"
    )


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


async def _ignore(_: Piece, /) -> None:
    """Take a piece of the answer that nobody reads."""
