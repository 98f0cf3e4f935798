"""What is published: a wheel, built and installed offline, started by a host."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

from tests.marks import asyncio_only

ROOT = Path(__file__).parent.parent.parent
SECONDS = 120

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it, in a process that finds no network."""
    target = tmp_path_factory.mktemp("wheel")
    build = ["-m", "build", "--no-isolation", "--wheel", "--outdir", str(target), str(ROOT)]
    run(sys.executable, *build, cwd=target, PIP_NO_INDEX="1")
    [built] = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it in a fresh environment that borrows the dependencies of this one."""
    home = tmp_path_factory.mktemp("home")
    venv.create(home / "venv")
    python = home / "venv" / "bin" / "python"
    pip = ["-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    run(sys.executable, *pip, cwd=home)
    [packages] = (home / "venv" / "lib").glob("python*/site-packages")
    # Files named *.pth in a borrowed directory are not read, so the checkout stays out.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    found = run(python, "-c", "import aios_mcp; print(aios_mcp.__file__)", cwd=home)
    assert Path(found.strip()).is_relative_to(packages)
    return home


def environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "NO_COLOR": "1", "TMPDIR": str(home)}


def test_the_wheel_holds_the_packages_their_data_and_the_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "aios_mcp",
        "backends",
        "scheduler",
    }
    assert "backends/llama_cpp/models/aios-demo.gguf" in names
    assert "aios_mcp/cli/demo/notebook_server.py" in names
    assert {name.split("/")[-1] for name in names} >= {"LICENSE", "NOTICE", "entry_points.txt"}


@asyncio_only
async def test_the_installed_wheel_serves_a_host(installed: Path) -> None:
    server = StdioServerParameters(
        command=str(installed / "venv" / "bin" / "aios-mcp"),
        args=["serve"],
        env=environment(installed),
        cwd=installed,
    )
    with anyio.fail_after(SECONDS):
        async with Client(server) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {
                "llm_generate",
                "execute_tool",
                "find_tools",
                "add_memory",
                "search_memory",
                "forget_memory",
            }
            result = await client.call_tool("llm_generate", {"prompt": "Hello", "max_tokens": 8})
    assert not result.is_error
    assert result.structured_content["usage"]["output_tokens"] > 0


def test_the_tour_works_from_the_wheel(installed: Path) -> None:
    program = installed / "venv" / "bin" / "aios-mcp"
    shown = run(program, "demo", cwd=installed, **environment(installed))
    assert "That was the tour" in shown
