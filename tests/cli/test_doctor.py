import re
from pathlib import Path

import pytest

from aios_mcp.cli import main
from aios_mcp.cli.checks import check_generation
from tests.cli.commands import Place
from tests.marks import asyncio_only


def findings(shown: str) -> dict[str, str]:
    """Give the mark of each subject."""
    return {found[2].strip(): found[1] for found in re.finditer(r"^([✓·✗]) (.{14}) ", shown, re.M)}


def test_a_sound_machine_is_told_part_by_part(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--config", str(place.config)]) == 0
    shown = capsys.readouterr().out
    marks = findings(shown)
    for subject in ("Python", "packages", "configuration", "llama.cpp", "bundled model", "SQLite"):
        assert marks[subject] == "✓", shown
    assert marks["embedder"] == "·"
    assert "aios-mcp models pull minilm" in shown
    assert re.search(r"wrote \d+ tokens in ", shown)
    assert shown.endswith("all that is needed works\n")


def test_what_is_broken_is_named_with_what_to_do(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure('[servers.s]\ncommand = ["no-such-program"]')
    place.data.mkdir()
    (place.data / "aios.db").write_bytes(b"no database" * 1000)
    assert main(["doctor", "--config", str(place.config)]) == 1
    shown = capsys.readouterr().out
    marks = findings(shown)
    assert (marks["configuration"], marks["database"], marks["SQLite"]) == ("✗", "✗", "✓")
    assert "servers.s.command: there is no program 'no-such-program'" in shown
    assert "→ restore it from a backup, or move it away" in shown
    assert shown.endswith("2 broken\n")


def test_a_broken_file_does_not_hide_the_rest(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.config.write_text("[limits]\nqueue_total = 0\nnonsense = 1")
    assert main(["doctor", "--config", str(place.config)]) == 1
    shown = capsys.readouterr().out
    assert f"{place.config}:2: limits.queue_total: found 0" in shown
    assert f"{place.config}:3: limits.nonsense: unknown key" in shown
    assert findings(shown)["bundled model"] == "✓"


@asyncio_only
async def test_a_model_that_does_not_load_is_broken_and_no_traceback(tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF")
    [finding] = await check_generation(model)
    assert finding.state == "broken"
    assert "cut short" in finding.text
    assert finding.fix


def test_an_embedder_that_cannot_embed_is_broken(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.path / "m.gguf").write_bytes(b"GGUF")
    place.configure('[memory]\nembedder = "m.gguf"')
    assert main(["doctor", "--config", str(place.config)]) == 1
    assert findings(capsys.readouterr().out)["embedder"] == "✗"
