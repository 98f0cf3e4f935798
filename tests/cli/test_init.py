import json
import re
import shlex
from pathlib import Path

import pytest

from aios_mcp.cli import main
from aios_mcp.cli.config_template import TEMPLATE
from aios_mcp.config.presets import PRESETS
from tests.cli.commands import Place


def test_a_configuration_is_written_and_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "aios.toml"
    assert main(["init", "--config", str(path)]) == 0
    assert path.read_text() == TEMPLATE
    path.write_text("# mine\n")
    assert main(["init", "--config", str(path)]) == 0
    assert path.read_text() == "# mine\n"
    assert "is there already and stays as it is" in capsys.readouterr().out


def test_the_configuration_names_all_presets() -> None:
    assert not [name for name in PRESETS if not re.search(rf"\b{name}\b", TEMPLATE)]


def test_an_existing_broken_file_is_told(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.config.write_text("nonsense = 1")
    assert main(["init", "--config", str(place.config)]) == 2
    assert f"{place.config}:1: nonsense: unknown key" in capsys.readouterr().err


def test_the_snippets_start_this_installation(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--config", str(place.config)]) == 0
    shown = capsys.readouterr().out
    blocks = [json.loads(block) for block in re.findall(r"^\{$.*?^\}$", shown, re.M | re.S)]
    entries = [block.get("mcpServers", block.get("servers"))["aios"] for block in blocks]
    assert [set(block) for block in blocks] == [{"mcpServers"}, {"servers"}, {"mcpServers"}]
    [line] = [line for line in shown.splitlines() if line.startswith("claude mcp add aios -- ")]
    command = shlex.split(line)[5:]
    for entry in entries:
        assert [entry["command"], *entry["args"]] == command
    assert Path(command[0]).is_absolute()
    assert Path(command[0]).is_file()
    assert command[-3:] == ["serve", "--config", str(place.config)]
