"""`aios-mcp serve` as a host starts it: a process, its two streams, its exit code."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager

import apsw
import pytest

from aios_mcp.cli import main
from aios_mcp.cli.errors import CommandError
from aios_mcp.cli.serve import Address, parse_address
from backends.llama_cpp import BUNDLED_MODEL
from tests.cli.commands import ROOT, Place

SECONDS = 60
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@contextmanager
def start(place: Place, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Run `aios-mcp serve` for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aios_mcp", "serve", *arguments],
        cwd=ROOT,
        env=place.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def greet(process: subprocess.Popen[str]) -> dict[str, object]:
    """Say the first thing a host says, and give the answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(INITIALIZE) + "\n")
    process.stdin.flush()
    answer: dict[str, object] = json.loads(process.stdout.readline())
    return answer


def test_the_end_of_stdin_ends_the_server_cleanly(place: Place) -> None:
    with start(place) as process:
        assert greet(process)["id"] == 1
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_cleanly(place: Place, number: signal.Signals) -> None:
    with start(place) as process:
        greet(process)
        process.send_signal(number)
        assert process.wait(timeout=SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_the_agent_named_is_the_one_stdio_speaks_for(place: Place) -> None:
    place.configure("[agents.local]\n[agents.reader]\n")
    with start(place, "--agent", "reader") as process:
        greet(process)
        assert process.stdin is not None
        assert process.stdout is not None
        read = {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "resources/read",
            "params": {"uri": "aios://policy/me"},
        }
        process.stdin.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
        process.stdin.write(json.dumps(read) + "\n")
        process.stdin.flush()
        [contents] = json.loads(process.stdout.readline())["result"]["contents"]
    assert json.loads(contents["text"])["agent"] == "reader"


def test_http_is_served_where_it_says_until_a_signal(place: Place) -> None:
    with start(place, "--http", "127.0.0.1:0") as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        url = said.split()[2].removesuffix("/mcp")
        assert said == f"aios-mcp: serving {url}/mcp and {url}/sse\n"
        for path in ("/healthz", "/readyz"):
            with urllib.request.urlopen(url + path, timeout=SECONDS) as answer:
                assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SECONDS) == 0


# --- What stops it from starting: one clear line, nothing on stdout ----------------------------

Refused = Callable[..., str]


@pytest.fixture
def refused(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refused:
    """Run the command in this process, where that is faster, and give the line on stderr."""
    monkeypatch.setenv("AIOS_CONFIG", str(place.config))

    def run(*arguments: str, code: int) -> str:
        assert main(["serve", *arguments]) == code
        shown = capsys.readouterr()
        assert shown.out == ""
        [line] = shown.err.splitlines()
        return line.replace(str(place.path), "PLACE")

    return run


def test_a_process_that_is_refused_says_so_in_one_line(place: Place) -> None:
    place.configure('log_level = "loud"')
    done = place.run("serve")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"aios-mcp: {place.config}:4: kernel.log_level: found the text 'loud';")


def test_a_broken_configuration(place: Place, refused: Refused) -> None:
    place.configure('log_level = "loud"')
    assert refused(code=2) == (
        "aios-mcp: PLACE/aios.toml:4: kernel.log_level: found the text 'loud'; must be 'debug' or"
        " 'info' or 'warning' or 'error'"
    )


def test_a_secret_that_is_not_there(place: Place, refused: Refused) -> None:
    place.configure('[agents.local]\ntoken = "env:NO_SUCH_TOKEN"')
    line = refused(code=2)
    assert line.startswith(
        "aios-mcp: PLACE/aios.toml:5: agents.local.token: env:NO_SUCH_TOKEN: the"
    )


def test_a_secret_of_two_agents(place: Place, refused: Refused) -> None:
    (place.path / "token").write_text("canary")
    (place.path / "token").chmod(0o600)
    place.configure('[agents.local]\ntoken = "file:token"\n[agents.b]\ntoken = "file:token"')
    line = refused(code=2)
    assert (
        line
        == "aios-mcp: PLACE/aios.toml:7: agents.b.token: is that of agent 'local' too; change one"
    )


def test_an_agent_that_is_not_there(refused: Refused) -> None:
    line = refused("--agent", "bob", code=2)
    assert line == "aios-mcp: no agent 'bob' in the configuration; there are: local"


def test_a_damaged_model(place: Place, refused: Refused) -> None:
    raw = BUNDLED_MODEL.read_bytes()
    (place.path / "m.gguf").write_bytes(raw[:-1000])
    place.configure('[cores.x]\nbackend = "llama_cpp"\nmodel = "m.gguf"')
    assert refused(code=2) == (
        "aios-mcp: PLACE/aios.toml:6: cores.x.model: model 'm.gguf' (PLACE/m.gguf): the model file"
        " is cut short; download it again"
    )


def test_a_model_that_is_not_there(place: Place, refused: Refused) -> None:
    place.configure('[cores.x]\nbackend = "llama_cpp"\nmodel = "hf:org/repo:Q4_K_M"')
    assert refused(code=2).endswith("run: aios-mcp models pull hf:org/repo:Q4_K_M")


@pytest.mark.parametrize("data", ["a file", "/proc/aios"])
def test_a_data_directory_that_cannot_be_made(place: Place, refused: Refused, data: str) -> None:
    (place.path / "a file").touch()
    place.config.write_text(f"[kernel]\ndata_dir = {json.dumps(data)}\n")
    assert refused(code=1).startswith("aios-mcp: the data directory cannot be made; give")


def test_a_database_that_cannot_be_opened(place: Place, refused: Refused) -> None:
    (place.data / "aios.db").mkdir(parents=True)
    line = refused(code=1)
    assert line.startswith("aios-mcp: the data directory or aios.db in it cannot be written; give")


def test_a_damaged_database_which_is_left_as_it_is(place: Place, refused: Refused) -> None:
    place.data.mkdir()
    damaged = b"SQLite format 3\0" + b"\xff" * 5000
    (place.data / "aios.db").write_bytes(damaged)
    line = refused(code=1)
    assert line == "aios-mcp: aios.db is damaged; restore it from a backup or move it away"
    assert (place.data / "aios.db").read_bytes() == damaged


def test_a_database_that_another_program_holds(place: Place, refused: Refused) -> None:
    place.data.mkdir()
    holder = apsw.Connection(str(place.data / "aios.db"))
    holder.execute("CREATE TABLE t(a); BEGIN EXCLUSIVE").fetchall()
    line = refused(code=1)
    holder.close()
    assert line == "aios-mcp: aios.db is locked by another program; try again"


def test_a_key_that_cannot_be_read(place: Place, refused: Refused) -> None:
    place.data.mkdir()
    (place.data / "token.key").write_bytes(b"short")
    assert "token.key is damaged; delete it to make a new one" in refused(code=1)


def test_a_port_in_use(refused: Refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = refused("--http", address, code=1)
    assert line.startswith(f"aios-mcp: cannot listen on {address}: Address already in use; name")


def test_an_open_door(refused: Refused) -> None:
    line = refused("--http", "0.0.0.0:0", code=2)
    assert "no agent has a credential" in line


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8765", Address("127.0.0.1", 8765)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "8765", ":8765", "host:", "host:x", "::1:80", "h:65536"])
def test_another_address_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="write HOST:PORT"):
        parse_address(text)


def test_nothing_that_a_server_prints_gets_onto_the_wire(place: Place) -> None:
    # The worker of llama.cpp, downstream servers and libraries all write where they like.
    noisy = place.path / "noisy.py"
    noisy.write_text("import sys\nprint('noise', file=sys.stderr, flush=True)\nprint('noise')\n")
    command = json.dumps([sys.executable, str(noisy)])
    place.configure(f"[servers.noisy]\ncommand = {command}\nconnect_seconds = 5\n")
    with start(place) as process:
        greet(process)
        assert process.stdin is not None
        assert process.stdout is not None
        call: dict[str, object] = {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "find_tools", "arguments": {}},
        }
        process.stdin.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
        process.stdin.write(json.dumps(call) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
    assert answer["id"] == 2
    assert answer["result"]["structuredContent"]["unreachable"] == ["noisy"]
