import tomllib

import pytest

from aios_mcp.cli import main
from aios_mcp.cli.config_template import TEMPLATE
from aios_mcp.config import load_config
from tests.cli.commands import Place

SECRETS = """
[cores.x]
backend = "openai"
base_url = "https://user:canary1@host.example/v1?key=canary2"
model = "m"
api_key = "env:SOME_KEY"
[servers.a]
command = ["program", "--api-key=canary3"]
env = { A = "canary4", B = "env:OTHER" }
[servers.b]
url = "https://canary5@host.example/mcp"
headers = { Authorization = "Bearer canary6" }
"""


def run(place: Place, *arguments: str) -> int:
    return main([*arguments, "--config", str(place.config)])


def test_a_sound_configuration_is_called_sound(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, "config", "check") == 0
    assert capsys.readouterr().out == f"sound: {place.config}\n"


def test_everything_that_is_named_and_absent_is_told_at_once(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ABSENT", raising=False)
    place.configure("""
[agents.local]
token = "file:absent.token"
[cores.x]
backend = "llama_cpp"
model = "hf:org/repo:Q4_K_M"
[cores.y]
backend = "openai"
base_url = "http://127.0.0.1:1/v1"
model = "m"
api_key = "env:ABSENT"
[servers.s]
command = ["no-such-program"]
env = { KEY = "env:ABSENT" }
""")
    assert run(place, "config", "check") == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1:3] for line in told] == [
        [f"{place.config}:6", "agents.local.token"],
        [f"{place.config}:9", "cores.x.model"],
        [f"{place.config}:14", "cores.y.api_key"],
        [f"{place.config}:17", "servers.s.env.KEY"],
        [f"{place.config}:16", "servers.s.command"],
    ]
    assert "aios-mcp models pull hf:org/repo:Q4_K_M" in told[1]
    assert "'no-such-program'; install it" in told[4]


def test_every_problem_of_the_file_is_a_line_on_stderr(place: Place) -> None:
    place.config.write_text("[kernel]\nlog_level = 1\n[limits]\nqueue_totl = 1\n")
    done = place.run("config", "check")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"aios-mcp: {place.config}:2: kernel.log_level: found 1; must be 'debug' or 'info' or"
        " 'warning' or 'error'",
        f"aios-mcp: {place.config}:4: limits.queue_totl: unknown key; did you mean 'queue_total'?"
        " known here: generate_seconds, memory_seconds, memory_slots, model_memory_mb,"
        " queue_per_agent, queue_seconds, queue_total, shutdown_seconds, tool_seconds",
    ]


def test_show_tells_where_each_setting_comes_from(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure('log_level = "info"\n')
    assert run(place, "config", "show") == 0
    shown = capsys.readouterr().out
    lines = {line.split(" = ")[0]: line for line in shown.splitlines() if " = " in line}
    assert lines["log_level"].split() == ["log_level", "=", '"info"', "#", "line", "4"]
    assert lines["queue_total"].split() == ["queue_total", "=", "256", "#", "default"]
    assert load_config(place.config).config.model_dump(mode="json", exclude_none=True) == (
        tomllib.loads(shown)
    )


def test_show_keeps_secrets_to_itself(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(SECRETS)
    assert run(place, "config", "show") == 0
    shown = capsys.readouterr().out
    assert "canary" not in shown
    assert 'api_key = "env:SOME_KEY"' in shown
    assert 'env = { A = "***", B = "env:OTHER" }' in shown
    tomllib.loads(shown)


def test_the_template_loads_as_it_is_and_with_all_its_examples(place: Place) -> None:
    place.config.write_text(TEMPLATE)
    assert set(load_config(place.config).config.agents) == {"local"}
    lines = TEMPLATE.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("["))
    uncommented = [line.removeprefix("# ") for line in lines[first:] if "# ---" not in line]
    place.config.write_text("\n".join(uncommented))
    loaded = load_config(place.config).config
    assert set(loaded.agents) == {"local", "researcher"}
    assert set(loaded.cores) == {"local", "cloud"}
    assert set(loaded.servers) == {"fs", "remote"}


def test_a_terminal_that_knows_less_than_utf_8_is_no_failure(place: Place) -> None:
    place.configure('[servers.s]\ncommand = ["café", "→"]')
    done = place.run("config", "show", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert 'command = ["caf?", "?"]' in done.stdout


def test_a_secret_that_others_can_read_is_warned_about_by_name(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    token = place.path / "token"
    token.write_text("canary")
    token.chmod(0o644)
    place.configure('[agents.local]\ntoken = "file:token"')
    assert run(place, "config", "check") == 0
    shown = capsys.readouterr()
    assert shown.out == f"sound: {place.config}\n"
    assert shown.err == (
        "aios-mcp: warning: a secret's file can be read by other users; run chmod 600 on it"
        f" file={str(token)!r}\n"
    )
