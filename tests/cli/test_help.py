import subprocess
import sys

import pytest

from aios_mcp.cli import main
from aios_mcp.version import __version__
from tests.cli.commands import ROOT

COMMANDS = (
    "serve",
    "init",
    "doctor",
    "config check",
    "config show",
    "models list",
    "models pull",
    "token mint",
    "top",
    "memory add-documents",
    "memory export",
    "memory import",
    "memory list",
    "memory count",
    "memory search",
    "memory forget",
    "demo",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "--help"])
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert f"\n  aios-mcp {command}" in shown


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"\n    {command.split()[0]} " in shown for command in COMMANDS)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"aios-mcp {__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom aios_mcp.cli.parser import build_parser\nbuild_parser().format_help()\n"
        "print([name for name in ('mcp', 'pydantic', 'anyio', 'openai') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["serve", "--htp"], ["token", "mint"]])
def test_wrong_usage_ends_with_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: aios-mcp" in capsys.readouterr().err
