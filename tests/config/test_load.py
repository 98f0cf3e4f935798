from pathlib import Path

import pytest

from aios_mcp.config import Config, ConfigError, load_config

GOOD = """
[agents.local]
tools = ["*"]
memory = { read = ["self/*", "shared"], write = ["self/*"] }
args = [
  { tool = "fs.read_*", path = "path", under = "data" }, { tool = "x.y", path = "n", max = 3 },
]
llm = { tiers = ["fast"], usd_per_day = 5 }
rate = "60/min"

[cores.cloud]
backend = "openai"
base_url = "http://127.0.0.1:1/v1"
model = "m"
api_key = "env:KEY"
price = { input = 0.15, output = 1 }

[servers.fs]
command = ["npx", "server"]
"""


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    """Load a broken file and give what is said of it, with the file's name in place of its path."""
    path = tmp_path / "aios.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [problem.replace(str(path), "aios.toml") for problem in caught.value.problems]


def test_a_file_becomes_a_configuration_that_knows_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "aios.toml"
    path.write_text(GOOD)
    loaded = load_config(path)
    assert (loaded.base, loaded.path) == (tmp_path, path)
    local = loaded.config.agents["local"]
    assert local.memory.read == ("self/*", "shared")
    assert local.args[1].max == 3
    assert local.llm.usd_per_day == 5.0
    assert loaded.lines["cores", "cloud", "price", "output"] == 16


def test_the_file_named_outranks_the_environment_which_outranks_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AIOS_CONFIG", raising=False)
    assert load_config().path is None
    assert load_config().config == Config()
    for name in ("own", "environment", "named"):
        folder = tmp_path / ("aios-mcp" if name == "own" else name)
        folder.mkdir()
        (folder / "aios.toml").write_text("")
    assert load_config().path == tmp_path / "aios-mcp" / "aios.toml"
    monkeypatch.setenv("AIOS_CONFIG", str(tmp_path / "environment" / "aios.toml"))
    assert load_config().path == tmp_path / "environment" / "aios.toml"
    named = tmp_path / "named" / "aios.toml"
    assert load_config(named).path == named


def test_line_ends_of_windows_and_a_byte_order_mark_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "aios.toml"
    path.write_bytes(b'\xef\xbb\xbf[kernel]\r\n\r\nlog_level = "info"\r\n')
    loaded = load_config(path)
    assert loaded.config.kernel.log_level == "info"
    assert loaded.lines["kernel", "log_level"] == 3


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "an unknown table": (
        "[agent.local]",
        "aios.toml:1: agent: unknown key; did you mean 'agents'? known here: agents, cores,"
        " embedders, http, kernel, limits, memory, router, scheduler, servers",
    ),
    "an unknown key": (
        '[agents.local]\ntool = ["*"]',
        "aios.toml:2: agents.local.tool: unknown key; did you mean 'tools'? known here: args, deny,"
        " llm, memory, observe, rate, share, superior, token, tools",
    ),
    "an unknown key in an inline table of an array": (
        '[agents.local]\nargs = [\n  { tool = "a.b", path = "p", eq = 1, patth = 1 },\n]',
        "aios.toml:3: agents.local.args[0].patth: unknown key; did you mean 'path'? known here: eq,"
        " glob, max, one_of, path, tool, under",
    ),
    "text where a number belongs": (
        '[cores.x]\nbackend = "llama_cpp"\nslots = "8"',
        "aios.toml:3: cores.x.slots: found the text '8'; must be a whole number",
    ),
    "a number out of range": (
        "[limits]\nqueue_total = 0",
        "aios.toml:2: limits.queue_total: found 0; must be at least 1",
    ),
    "a number that is none": (
        "limits.tool_seconds = nan",
        "aios.toml:1: limits.tool_seconds: found nan; must be a finite number",
    ),
    "text where an array belongs": (
        '[agents.local]\nmemory = { read = "self" }',
        "aios.toml:2: agents.local.memory.read: found the text 'self'; must be an array, such as"
        ' ["a", "b"]',
    ),
    "a value where a table belongs": (
        "agents = 5",
        "aios.toml:1: agents: found 5; must be a table",
    ),
    "a date": (
        "[kernel]\ndata_dir = 2026-01-01",
        "aios.toml:2: kernel.data_dir: found a date or time; must be text in quotes",
    ),
    "a value outside a closed list": (
        '[kernel]\n\nlog_level = "warn"',
        "aios.toml:3: kernel.log_level: found the text 'warn'; must be 'debug' or 'info' or"
        " 'warning' or 'error'; did you mean 'warning'?",
    ),
    "a core without backend": (
        '[cores.x]\nmodel = "m"',
        'aios.toml:1: cores.x: missing backend; add backend = "llama_cpp" or backend = "openai"',
    ),
    "a core of an unknown backend": (
        '[cores.x]\nbackend = "openapi"',
        "aios.toml:2: cores.x.backend: found the text 'openapi'; must be 'llama_cpp' or 'openai';"
        " did you mean 'openai'?",
    ),
    "an endpoint without an address": (
        '[cores.x]\nbackend = "openai"\nmodel = "m"',
        "aios.toml:1: cores.x: needs base_url, such as http://127.0.0.1:11434/v1, or the preset of"
        " a known endpoint: openai, ollama, vllm, llama-server, deepseek, qwen, kimi, minimax,"
        " groq, openrouter, gemini, anthropic",
    ),
    "an unknown preset": (
        '[cores.x]\nbackend = "openai"\nmodel = "m"\npreset = "lama-server"',
        "aios.toml:4: cores.x.preset: found the text 'lama-server'; must be 'openai' or 'ollama' or"
        " 'vllm' or 'llama-server' or 'deepseek' or 'qwen' or 'kimi' or 'minimax' or 'groq' or"
        " 'openrouter' or 'gemini' or 'anthropic'; did you mean 'llama-server'?",
    ),
    "settings that exclude each other": (
        '[cores.x]\nbackend = "llama_cpp"\nkv_type = "q8_0"\nflash_attention = "off"',
        'aios.toml:1: cores.x: kv_type = "q8_0" needs flash attention; set flash_attention ='
        ' "auto"',
    ),
    "a server that is two": (
        '[servers.x]\ncommand = ["a"]\nurl = "http://a"',
        "aios.toml:1: servers.x: needs either command (stdio) or url (HTTP)",
    ),
    "a condition without a test": (
        '[agents.local]\nargs = [{ tool = "a.b", path = "p" }]',
        "aios.toml:2: agents.local.args[0]: needs exactly one of: under, eq, one_of, glob, max",
    ),
    "a condition on an array": (
        '[agents.local]\nargs = [{ tool = "a.b", path = "p", eq = [1] }]',
        "aios.toml:2: agents.local.args[0].eq: found an array; must be text in quotes or a whole"
        " number or a number or true or false",
    ),
    "a bad name": (
        '[agents.local]\n[agents."a b"]',
        "aios.toml:2: agents.a b: found the text 'a b'; must be a name: letters, digits, - and _,"
        " at most 64, the first no sign",
    ),
    "a bad rate": (
        '[agents.local]\nrate = "60/s"',
        "aios.toml:2: agents.local.rate: found the text '60/s'; must be a rate, such as \"60/min\"",
    ),
    "a bad namespace": (
        '[agents.local]\nmemory.write = ["a b"]',
        "aios.toml:2: agents.local.memory.write[0]: found the text 'a b'; must be a namespace,"
        " such as self/*, shared or team/alpha",
    ),
    "a default agent that is not there": (
        '[kernel]\ndefault_agent = "bob"\n[agents.local]',
        "aios.toml:2: kernel.default_agent is 'bob', but there is no [agents.bob]; add it, or name"
        " one of: local",
    ),
    "a value without quotes": (
        "[kernel]\nlog_level = info",
        "aios.toml:2: log_level: not valid TOML: Expected newline or end of document after a"
        " statement; one key = value to a line, text in quotes",
    ),
    "an open quote": (
        '[kernel]\nlog_level = "info\n',
        "aios.toml:2: log_level: not valid TOML: Illegal character '\\n'; close the quotes on the"
        " same line",
    ),
    "a key that stands there twice": (
        'kernel.data_dir = "a"\nkernel.data_dir = "b"',
        "aios.toml:2: kernel.data_dir: not valid TOML: Cannot overwrite a value; the key stands"
        " there twice; remove one",
    ),
    "an array that does not end": (
        "[agents.local]\ntools = [",
        "aios.toml:2: tools: not valid TOML: Invalid value; text needs quotes, true and false are"
        " written small",
    ),
    "the character NUL": (
        '[kernel]\ndata_dir = "a\\u0000b"',
        "aios.toml:2: kernel.data_dir: holds the character NUL; remove it",
    ),
    "another encoding": (
        b'[kernel]\n# caf\xe9\ndata_dir = "x"',
        "aios.toml:2: is not UTF-8 text; save the file as UTF-8",
    ),
    "deep nesting": (
        "x = " + "[" * 100_000,
        "aios.toml: arrays or tables are nested too deeply",
    ),
    "a file of a gigantic size": (
        b"#" * (1024 * 1024 + 1),
        "aios.toml: is larger than 1048576 bytes, so it is no configuration",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_line_key_and_fix(tmp_path: Path, name: str) -> None:
    text, expected = BROKEN[name]
    assert problems(tmp_path, text) == [expected]


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """
[agents.local]
tools = 1
rate = 2
[limits]
queue_total = 0
[kernel]
expos = 1
default_agent = "bob"
"""
    assert [" ".join(line.split()[:2]).rstrip(":") for line in problems(tmp_path, text)] == [
        "aios.toml:3: agents.local.tools",
        "aios.toml:4: agents.local.rate",
        "aios.toml:6: limits.queue_total",
        "aios.toml:8: kernel.expos",
        "aios.toml:9: kernel.default_agent",
    ]


SECRET = "sk-canary-0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f'[agents.local]\ntoken = "{SECRET}"',
        f'[cores.x]\nbackend = "openai"\nbase_url = "http://a"\nmodel = "m"\napi_key = "{SECRET}"',
        f'[cores.x]\nbackend = "openai"\nbase_url = "{SECRET}@host"\nmodel = "m"',
        f'[cores.x]\nbackend = "openai"\napikey = "{SECRET}"',
        f'[servers.x]\ncommand = "npx x --key={SECRET}"',
        f'[servers.x]\ncommand = ["x"]\nenv = "{SECRET}"',
        f'[servers.x]\nurl = "http://a"\nheaders = {{ Authorization = ["{SECRET}"] }}',
        f"[agents.local]\ntoken = {SECRET}",
        f'[agents.local]\ntoken = "{SECRET}',
    ],
)
def test_a_secret_in_the_file_is_never_repeated(tmp_path: Path, text: str) -> None:
    found = problems(tmp_path, text)
    assert found
    assert "canary" not in "\n".join(found)


def test_a_secret_itself_is_refused_with_the_way_to_refer_to_it(tmp_path: Path) -> None:
    [found] = problems(tmp_path, f'[agents.local]\ntoken = "{SECRET}"')
    assert found.startswith("aios.toml:2: agents.local.token: found text; must say where")
    assert "env:VARIABLE or file:PATH" in found


@pytest.mark.parametrize("path", ["absent.toml", "."])
def test_a_named_file_that_is_none_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=r"does not exist|is not a file") as caught:
        load_config(tmp_path / path)
    assert "aios-mcp init" in str(caught.value)


def test_a_superior_is_another_agent_without_one(tmp_path: Path) -> None:
    tables = '[agents.local]\n[agents.a]\nsuperior = "local"\n'
    path = tmp_path / "aios.toml"
    path.write_text(tables)
    assert load_config(path).config.agents["a"].superior == "local"
    for wrong in ("nobody", "a", "b"):
        [problem] = problems(tmp_path, f'{tables}[agents.b]\nsuperior = "{wrong}"\n')
        assert f"agents.b.superior is {wrong!r}" in problem
