import os
from pathlib import Path

import pytest

from aios_mcp.documents.files import (
    MAX_FILE_BYTES,
    BinaryFileError,
    UnreadableError,
    find_files,
    read_text,
)


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def test_files_are_found_in_order_and_named_below_their_root(tmp_path: Path) -> None:
    root = tmp_path / "docs"
    write(root, "b.md", "a/z.md", "a/y.py")
    write(
        root,
        ".hidden.md",
        ".git/config",
        "node_modules/x/index.js",
        "a/__pycache__/y.txt",
        "env/pyvenv.cfg",
        "env/lib/z.py",
    )
    (root / "link.md").symlink_to(root / "b.md")
    (root / "loop").symlink_to(root)
    names = [file.name for file in find_files(root)]
    assert names == ["docs/a/y.py", "docs/a/z.md", "docs/b.md"]
    assert [f.name for f in find_files(root, ["*.py", "b.*"])] == ["docs/a/z.md"]
    assert [f.name for f in find_files(root / ".hidden.md")] == [".hidden.md"]


def test_the_directory_one_stands_in_has_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "docs", "a.md")
    monkeypatch.chdir(tmp_path / "docs")
    assert [file.name for file in find_files(Path())] == ["docs/a.md"]


def test_a_root_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(find_files(tmp_path / "none"))


def test_a_pipe_is_no_document(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert list(find_files(tmp_path)) == []


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"plain", "plain"),
        ("\ufeffmark".encode(), "mark"),
        ("wide".encode("utf-16"), "wide"),
        (b"na\xefve " + b"and the rest is text " * 5, "na\ufffdve " + "and the rest is text " * 5),
        (b"", ""),
    ],
)
def test_text_is_read(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "a").write_bytes(content)
    assert read_text(tmp_path / "a") == text


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\x7fELF\0\0")
    with pytest.raises(BinaryFileError):
        read_text(path)
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(UnreadableError, match="UTF-8"):
        read_text(path)
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(UnreadableError, match="4 MiB"):
        read_text(path)
