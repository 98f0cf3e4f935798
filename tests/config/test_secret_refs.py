from pathlib import Path

import pytest

from aios_mcp.config import ConfigError, resolve_secret


def test_a_variable_gives_its_value_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SECRET", " s3cret ")
    assert resolve_secret("env:TEST_SECRET", tmp_path) == " s3cret "


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_gives_its_text_without_the_line_end(tmp_path: Path, end: str) -> None:
    (tmp_path / "token").write_bytes(b"s3cret" + end.encode())
    assert resolve_secret("file:token", tmp_path) == "s3cret"
    assert resolve_secret(f"file:{tmp_path / 'token'}", Path("/")) == "s3cret"


def test_what_is_missing_is_named_with_the_way_to_set_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_SECRET", raising=False)
    with pytest.raises(ConfigError, match=r"env:TEST_SECRET: .* is not set; set it"):
        resolve_secret("env:TEST_SECRET", tmp_path)
    with pytest.raises(ConfigError, match=r"file:token: there is no file .*; put the secret there"):
        resolve_secret("file:token", tmp_path)


@pytest.mark.parametrize("raw", [b"", b" \n", b"\xff\xfe", b"x" * 70_000])
def test_an_empty_or_unreadable_secret_is_refused_without_its_text(
    tmp_path: Path, raw: bytes
) -> None:
    (tmp_path / "token").write_bytes(raw)
    with pytest.raises(ConfigError, match=r"^file:token: ") as caught:
        resolve_secret("file:token", tmp_path)
    assert "xxx" not in str(caught.value)


def test_a_file_that_others_can_read_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret")
    path.chmod(0o600)
    resolve_secret("file:token", tmp_path)
    assert not caplog.records
    path.chmod(0o644)
    resolve_secret("file:token", tmp_path)
    assert "chmod 600" in caplog.text
    assert "s3cret" not in caplog.text
