import io
from pathlib import Path

import anyio
import pytest

from aios_mcp.cli.demo.screen import Screen
from aios_mcp.cli.demo.steps import STEPS
from aios_mcp.cli.demo.tour import take_tour
from aios_mcp.cli.demo.world import World
from tests.cli.commands import Place


@pytest.mark.slow
def test_the_tour_keeps_every_promise_and_leaves_nothing_behind(place: Place) -> None:
    scratch = place.path / "scratch"
    scratch.mkdir()
    done = place.run("demo", seconds=180, TMPDIR=str(scratch))
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert all(step.headline in done.stdout for step in STEPS)
    assert done.stdout.count("✓") == len(STEPS)
    assert "notebook.read_note" in done.stdout
    assert "not_permitted: tool 'notebook.delete_note' is not available" in done.stdout
    assert "budget_exceeded: agent 'guest'" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert not list(scratch.iterdir())


def test_a_tour_that_cannot_go_on_says_why_and_shows_the_servers_log(tmp_path: Path) -> None:
    shown = io.StringIO()
    with (tmp_path / "server.log").open("w") as log:
        world = World(tmp_path, log)
        reason = anyio.run(take_tour, world, Screen(shown))
    assert reason
    assert "aios.toml: does not exist" in world.logged(5)
    assert "✓" not in shown.getvalue()


def live(*tails: str, whole: str, width: int = 88) -> str:
    stream = io.StringIO()
    text = Screen(stream, width=width).live()
    for tail in tails:
        text.tail(tail)
    text.finish(whole)
    return stream.getvalue()


WORDS = " ".join(f"word{number}" for number in range(100))


@pytest.mark.parametrize("stride", [7, 50, 150, 500])
def test_a_text_that_streams_is_shown_once_whatever_is_skipped(stride: int) -> None:
    ends = range(stride, len(WORDS), stride)
    shown = live(*(WORDS[:end][-200:] for end in ends), whole=WORDS)
    assert shown.split() == WORDS.split()
    assert max(map(len, shown.splitlines())) <= 88


def test_words_are_shown_as_soon_as_they_are_complete() -> None:
    stream = io.StringIO()
    text = Screen(stream).live()
    text.tail("Once there w")
    assert stream.getvalue().split() == ["Once", "there"]
    text.tail("Once there was a")
    assert stream.getvalue().split() == ["Once", "there", "was"]
