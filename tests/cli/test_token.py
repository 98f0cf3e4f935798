import stat
from datetime import timedelta

import pytest

from aios_mcp.cli import main
from aios_mcp.cli.errors import CommandError
from aios_mcp.cli.tokens import parse_ttl
from aios_mcp.kernel.tokens import load_or_create_key, verify
from tests.cli.commands import Place


def test_a_minted_token_stands_for_its_agent_narrowed_and_ends(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(place.config), "--agent", "local", "--ttl", "8h"]
    assert main(["token", "mint", *arguments, "--tools", "fs.read_*", "web.search"]) == 0
    shown = capsys.readouterr()
    key = load_or_create_key(place.data)
    capability = verify(shown.out.strip(), key, now=0.0)
    assert capability.agent == "local"
    assert capability.caveats[0].tools == ("fs.read_*", "web.search")
    assert capability.caveats[0].exp is not None
    assert "for agent local, until" in shown.err
    assert stat.S_IMODE((place.data / "token.key").stat().st_mode) == 0o600


def test_an_unknown_agent_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", str(place.config), "--agent", "bob", "--ttl", "8h"]
    assert main(["token", "mint", *arguments]) == 2
    assert "no such agent in the configuration; there are: local" in capsys.readouterr().err
    assert not place.data.exists()


def test_a_damaged_key_is_told(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.data.mkdir()
    (place.data / "token.key").write_bytes(b"short")
    arguments = ["--config", str(place.config), "--agent", "local", "--ttl", "8h"]
    assert main(["token", "mint", *arguments]) == 1
    assert "token.key is damaged; delete it to make a new one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "ttl"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("8h", timedelta(hours=8)),
        ("7d", timedelta(days=7)),
    ],
)
def test_times_are_read(text: str, ttl: timedelta) -> None:
    assert parse_ttl(text) == ttl


@pytest.mark.parametrize("text", ["", "8", "h", "0s", "-1h", "1.5h", "3651d", "999999999d", "8 h"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(CommandError, match="write a number and s, m, h or d"):
        parse_ttl(text)
