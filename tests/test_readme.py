"""The README against the project: its promises, its configuration, its commands."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from aios_mcp.cli.parser import build_parser
from aios_mcp.config import load_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def section(title: str) -> str:
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", README, re.M | re.S)
    assert found is not None, f"the README has no section {title!r}"
    return found[1]


def promises() -> list[str]:
    rows = [line for line in section("Promises").splitlines() if line.startswith("|")]
    return rows[2:]  # below the heading and its rule


def commands() -> list[str]:
    """Give what follows `aios-mcp` wherever the README shows a command."""
    code = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.S))
    spans = [*re.findall(r"`([^`\n]+)`", README), *code.splitlines()]
    own = [span for span in spans if "inspector" not in span]  # whose options follow ours
    found = [match[1] for span in own if (match := re.search(r"\baios-mcp ([a-z].*)", span))]
    return sorted({span.split("#")[0].strip() for span in found})


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_there_are_promises() -> None:
    assert len(promises()) >= 10


@pytest.mark.parametrize("row", promises())
def test_every_promise_names_a_test_that_exists(row: str) -> None:
    named = TEST.findall(row)
    assert named, "no test is named"
    for path, name in named:
        assert (ROOT / path).is_file(), path
        assert name in functions_of(path), f"{path} has no {name}"


def test_the_configuration_of_the_readme_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", README, re.S)
    assert blocks
    for block in blocks:
        (tmp_path / "aios.toml").write_text(block, encoding="utf-8")
        load_config(tmp_path / "aios.toml")


def test_the_readme_shows_commands() -> None:
    assert {command.split()[0] for command in commands()} >= {"serve", "init", "doctor", "token"}


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_readme_exists(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = re.match(r"[a-z]+(?: [a-z][a-z-]*(?=\s|$|\|))?", command)
    assert words is not None
    options = re.findall(r"--[a-z-]+", command)
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([*words[0].split(), "--help"])
    assert ended.value.code == 0, command
    shown = capsys.readouterr().out
    assert all(option in shown for option in options), command
