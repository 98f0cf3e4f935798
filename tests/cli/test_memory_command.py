"""`aios-mcp memory` as a person uses it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import ROOT, Place


def memory(place: Place, *arguments: str, code: int = 0) -> str:
    done = place.run("memory", *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    root.mkdir()
    (root / "backups.md").write_text(
        "# Backups\n\nThey run on Fridays.\n\n# Owners\n\nOperations.\n"
    )
    (root / "hello.py").write_text("def hello():\n    return 'world'\n")
    (root / "image.png").write_bytes(b"\x89PNG\0")
    return root


def test_documents_are_added_found_changed_and_pruned(place: Place, docs: Path) -> None:
    shown = memory(place, "add-documents", str(docs))
    assert shown.splitlines() == [
        "2 documents: 2 new, 0 changed, 0 unchanged, 0 forgotten",
        "3 memories added, 0 replaced or forgotten, 0 kept",
    ]
    assert "docs/backups.md > Backups" in memory(place, "search", "when do backups run")
    (docs / "backups.md").write_text("# Backups\n\nThey run on Mondays.\n")
    (docs / "hello.py").unlink()
    shown = memory(place, "add-documents", str(docs), "--prune")
    assert shown.splitlines() == [
        "1 documents: 0 new, 1 changed, 0 unchanged, 1 forgotten",
        "1 memories added, 2 replaced or forgotten, 0 kept",
    ]
    assert "Mondays" in memory(place, "list")
    assert memory(place, "count").split() == ["1", "self", "document", "1", "in", "all"]


def test_memories_move_to_another_kernel_and_back(place: Place, docs: Path, tmp_path: Path) -> None:
    memory(place, "add-documents", str(docs), "--namespace", "shared")
    exported = tmp_path / "memories.jsonl"
    exported.write_text(memory(place, "export"), encoding="utf-8")
    other = Place(tmp_path / "other")
    other.path.mkdir()
    other.configure()
    assert memory(other, "import", str(exported)) == "3 added, 0 already there, 0 left out\n"
    assert memory(other, "import", str(exported)) == "0 added, 3 already there, 0 left out\n"
    kept = [json.loads(line) for line in exported.read_text(encoding="utf-8").splitlines()[1:]]
    back = [json.loads(line) for line in memory(other, "export").splitlines()[1:]]
    for line in (*kept, *back):
        del line["id"]
    assert back == kept


def test_what_cannot_be_imported_is_named_by_its_line(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "memory.json"
    file.write_text('{"type": "entity", "name": "gateway", "observations": ["on"]}\n{"type": 1}\n')
    told = memory(place, "import", str(file), code=1)
    assert f"{file}:2: left out: neither an entity with a name nor a relation" in told
    assert "gateway" in memory(place, "list")


def test_a_session_is_forgotten_by_its_name(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "memories.jsonl"
    lines = [{"memory": f"apples {session}", "run_id": session} for session in ("a", "b")]
    file.write_text(json.dumps(lines))
    memory(place, "import", str(file))
    assert memory(place, "forget", "--session", "a") == "forgot 1\n"
    assert "apples b" in memory(place, "list")
    memory(place, "forget", "--session", "a", code=1)


def test_a_memory_is_forgotten_by_its_id(place: Place, docs: Path) -> None:
    memory(place, "add-documents", str(docs / "hello.py"))
    [line] = memory(place, "list").splitlines()
    assert memory(place, "forget", line.split()[0]) == "forgot 1\n"
    assert memory(place, "list") == ""
    memory(place, "forget", line.split()[0], code=1)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["add-documents", "nowhere"], 2, "nowhere: there is no such file or directory"),
        (["import", "nowhere"], 1, "nowhere: No such file or directory"),
        (["list", "--agent", "ben"], 2, "no agent 'ben' in the configuration; there are: local"),
        (["add-documents", "README.md", "--namespace", "team/x"], 2, "its namespaces: self/*"),
        (["add-documents", "README.md", "--max-tokens", "1"], 2, "a number from 16 to 8192"),
    ],
)
def test_what_cannot_be_done_is_told(
    place: Place, arguments: list[str], code: int, told: str
) -> None:
    assert told in memory(place, *arguments, code=code)


def test_two_roots_of_one_name_are_refused(place: Place, tmp_path: Path) -> None:
    for parent in ("a", "b"):
        (tmp_path / parent / "docs").mkdir(parents=True)
    roots = [str(tmp_path / parent / "docs") for parent in ("a", "b")]
    assert "have the same name" in memory(place, "add-documents", *roots, code=2)


def test_a_kernel_that_runs_meanwhile_sees_what_was_added(place: Place, docs: Path) -> None:
    arguments = [sys.executable, "-m", "aios_mcp", "serve"]
    with subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=place.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as kernel:
        assert kernel.stdin is not None
        assert kernel.stdout is not None
        ask(kernel, 1, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=ME)
        kernel.stdin.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
        memory(place, "add-documents", str(docs))
        call = {"name": "search_memory", "arguments": {"query": "when do backups run", "k": 1}}
        answer = ask(kernel, 2, "tools/call", **call)
        kernel.stdin.close()
        assert kernel.wait(timeout=60) == 0
    assert "They run on Fridays." in answer


ME = {"name": "test", "version": "1"}


def ask(kernel: "subprocess.Popen[str]", number: int, method: str, **params: object) -> str:
    assert kernel.stdin is not None
    assert kernel.stdout is not None
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    kernel.stdin.write(json.dumps(message) + "\n")
    kernel.stdin.flush()
    for line in kernel.stdout:
        if json.loads(line).get("id") == number:
            return line
    raise AssertionError("the kernel ended")
