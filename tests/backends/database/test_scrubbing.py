"""What was deleted leaves the log, sooner or later."""

from pathlib import Path

import apsw
import pytest

from backends.database import scrub
from backends.database.connections import open_reader, open_writer


def content(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


def test_nothing_deleted_is_left_once_nobody_reads_it_any_more(tmp_path: Path) -> None:
    path = tmp_path / "aios.db"
    writer = open_writer(path)
    writer.execute("CREATE TABLE note(text TEXT); INSERT INTO note VALUES('zebracode')").fetchall()
    reader = open_reader(path)
    reader.execute("BEGIN; SELECT count(*) FROM note").fetchall()
    writer.execute("DELETE FROM note").fetchall()
    assert not scrub(path)
    assert b"zebracode" in content(tmp_path)
    reader.execute("COMMIT")
    assert scrub(path)
    assert b"zebracode" not in content(tmp_path)
    reader.close()
    writer.close()


@pytest.mark.parametrize("is_file", [True, False])
def test_a_file_that_cannot_be_used_ends_nobody_s_work(tmp_path: Path, is_file: bool) -> None:
    path = tmp_path / "missing" / "aios.db"
    if is_file:
        path.parent.mkdir()
        path.write_bytes(b"no database at all" * 100)
        with pytest.raises(apsw.NotADBError):
            open_writer(path)
    assert not scrub(path)
