"""`aios-mcp top`: what it shows of a real kernel, and how its table looks."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from aios_mcp.cli import main
from aios_mcp.cli.ink import Ink
from aios_mcp.cli.top_table import lay_out
from aios_mcp.kernel.queue import AgentLoad, CoreLoad, LiveCall, QueueReport
from tests.cli.commands import ROOT, Place
from tests.cli.test_serve import SECONDS, start

CONFIG = """
[agents.local]
token = "file:local.token"
observe = true
llm = { tiers = ["balanced"] }

[agents.guest]
share = 0.5
"""


@contextmanager
def kernel(place: Place) -> Generator[str]:
    """Serve over HTTP for the length of the block; gives the URL."""
    place.configure(CONFIG)
    (place.path / "local.token").write_text("top-secret")
    (place.path / "local.token").chmod(0o600)
    with start(place, "--http", "127.0.0.1:0") as process:
        assert process.stderr is not None
        yield process.stderr.readline().split()[2]
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=SECONDS)


def test_an_observer_sees_all_agents_as_a_table_and_as_json(place: Place) -> None:
    with kernel(place) as url:
        top = ("top", "--url", url, "--token", "env:TOP_TOKEN", "--once")
        shown = place.run(*top, TOP_TOKEN="top-secret")
        asked = place.run(*top, "--json", TOP_TOKEN="top-secret")
        refused = place.run("top", "--url", url, "--once")
    assert (shown.returncode, shown.stderr) == (0, "")
    first, *rest = shown.stdout.splitlines()
    assert first == f"{url}  all agents: 0 running, 0 waiting, 0.0 tokens/s"
    assert [line.split()[:2] for line in rest if line] == [
        ["CORE", "SLOTS"],
        ["bundled", "8"],
        ["AGENT", "SHARE"],
        ["guest", "0.5"],
        ["local", "1"],
    ]
    report = json.loads(asked.stdout)
    assert [each["name"] for each in report["agents"]] == ["local", "guest"]
    assert (refused.returncode, refused.stdout) == (1, "")
    [line] = refused.stderr.splitlines()
    assert line.startswith(f"aios-mcp: top: {url} does not answer as a kernel does (")
    assert "--token env:VARIABLE" in line


def test_on_a_terminal_it_draws_over_the_last_frame_until_it_is_stopped(place: Place) -> None:
    with kernel(place) as url:
        mine, its = pty.openpty()
        command = f"top --url {url} --every 0.1 --token env:TOP_TOKEN".split()
        with subprocess.Popen(
            [sys.executable, "-m", "aios_mcp", *command],
            cwd=ROOT,
            env=place.environment() | {"TOP_TOKEN": "top-secret"},
            stdin=subprocess.DEVNULL,
            stdout=its,
            stderr=subprocess.PIPE,
            # Where the tests themselves run in the background, SIGINT is ignored from the start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        ) as process:
            os.close(its)
            seen = b""
            try:
                while seen.count(b"\x1b[H") < 3:
                    seen += os.read(mine, 65536)
            finally:
                process.send_signal(signal.SIGINT)
                try:
                    _, errors = process.communicate(timeout=SECONDS)
                finally:
                    process.kill()
                    os.close(mine)
    assert (process.returncode, errors) == (130, b"")
    frames = seen.split(b"\x1b[H")
    assert b"all agents: 0 running" in frames[1]
    assert b"local" in frames[2]


def test_where_nobody_serves_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--url", "http://127.0.0.1:9/mcp", "--once"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    [line] = shown.err.splitlines()
    assert "http://127.0.0.1:9/mcp does not answer" in line


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "nan", "1e9"])
def test_a_pace_that_makes_no_sense_is_refused(
    seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["top", f"--every={seconds}"])
    assert "write seconds, from 0.1 to 3600" in capsys.readouterr().err


def load(name: str, rate: float, *, waiting: int = 0) -> AgentLoad:
    return AgentLoad(
        name=name,
        share=1.0,
        waiting=waiting,
        running=1,
        tokens_per_second=rate,
        tokens_today=12_345,
        usd_today=0.5,
    )


CALL = LiveCall(
    request_id="r1",
    op="llm_generate",
    target="bal\x1b[31manced",
    lane="urgent",
    state="waiting",
    position=3,
    waited_ms=1500.0,
    expected_wait_ms=None,
    place="",
    tokens=0,
)
REPORT = QueueReport(
    agent="ada",
    observes=False,
    calls=[CALL],
    cores=[CoreLoad(name="local", slots=8, busy=8, waiting=4, tokens_per_second=41.25)],
    agents=[load("idle", 0.0), load("busy", 40.0), load("waits", 0.0, waiting=2)],
)


def lines(*, width: int = 120, height: int | None = None) -> list[str]:
    return lay_out("URL", REPORT, Ink(io.StringIO()), width=width, height=height)


def test_the_busiest_come_first() -> None:
    shown = lines()
    assert shown[0] == "URL  agent ada: 3 running, 2 waiting, 40.0 tokens/s"
    agents = [line.split()[0] for line in shown if "12,345" in line]
    assert agents == ["busy", "waits", "idle"]


def test_a_call_says_where_it_stands_and_cannot_steer_the_terminal() -> None:
    row = lines()[-1]
    assert " ".join(row.split()) == "r1 llm_generate bal·[31manced urgent waiting 3 1.5 s 0"
    assert "\x1b" not in "".join(lines())


def test_a_frame_fits_the_terminal() -> None:
    shown = lines(width=40, height=6)
    assert len(shown) == 6
    assert max(map(len, shown)) <= 40
