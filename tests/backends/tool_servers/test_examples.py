"""The examples work as their texts say."""

import os
import re
import sys
import textwrap
from pathlib import Path

import anyio

from aios_mcp.config import load_config
from backends.messages import ToolProgress
from backends.tool_servers import StdioServer, open_tool_server
from tests.backends.tool_servers.servers import call, text_of
from tests.marks import asyncio_only

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_sample_configuration_is_valid_with_and_without_its_comments(tmp_path: Path) -> None:
    assert list(load_config(EXAMPLES / "aios.toml").config.servers) == ["notebook"]
    text = (EXAMPLES / "aios.toml").read_text()
    everything = re.sub(r"^# (?=\[|\w+ += )", "", text, flags=re.MULTILINE)
    (tmp_path / "aios.toml").write_text(everything)
    config = load_config(tmp_path / "aios.toml").config
    assert list(config.servers) == ["notebook", "fs", "remote"]
    assert list(config.agents) == ["local", "researcher"]


def test_the_configuration_in_the_text_of_the_summary_server_is_valid(tmp_path: Path) -> None:
    text = (EXAMPLES / "summary_server.py").read_text()
    found = re.search(r"^    \[agents.*?calls_back = true$", text, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    (tmp_path / "aios.toml").write_text(f"[agents.local]\n{textwrap.dedent(found[0])}")
    config = load_config(tmp_path / "aios.toml").config
    assert config.servers["summary"].calls_back
    assert config.agents["summary"].llm.tiers == ("fast",)


@asyncio_only
async def test_the_notebook_keeps_notes_as_files(tmp_path: Path) -> None:
    command = (sys.executable, str(EXAMPLES / "notebook_server.py"), str(tmp_path / "notes"))
    seen: list[ToolProgress] = []

    async def keep(progress: ToolProgress) -> None:
        seen.append(progress)

    with anyio.fail_after(40):
        async with open_tool_server("notebook", StdioServer(command=command)) as notebook:
            hints = {spec.name: spec.annotations for spec in await notebook.list_tools()}
            for name in ("art", "zoo"):
                await call(notebook, "write_note", name=name, text="two words")
            assert await text_of(notebook, "read_note", name="art") == "two words"
            counted = await notebook.call("count_words", {"pause_seconds": 0}, keep)
            deleted = await call(notebook, "delete_note", name="art")
            again = await call(notebook, "delete_note", name="art")
            escape = await call(notebook, "read_note", name="../secret")
            listed = await text_of(notebook, "list_notes")
    assert set(hints) == {"list_notes", "read_note", "write_note", "delete_note", "count_words"}
    assert hints["delete_note"] is not None
    assert hints["delete_note"]["destructiveHint"] is True
    assert hints["read_note"] is not None
    assert hints["read_note"]["readOnlyHint"] is True
    assert counted.structured == {"art": 2, "zoo": 2}
    assert seen == [ToolProgress(1.0, 2.0, "counted art"), ToolProgress(2.0, 2.0, "counted zoo")]
    assert (deleted.is_error, again.is_error, escape.is_error) == (False, True, True)
    assert listed == "zoo"
    assert os.listdir(tmp_path / "notes") == ["zoo.txt"]


@asyncio_only
async def test_the_notebook_stays_in_its_directory(tmp_path: Path) -> None:
    command = (sys.executable, str(EXAMPLES / "notebook_server.py"), str(tmp_path / "notes"))
    with anyio.fail_after(40):
        async with open_tool_server("notebook", StdioServer(command=command)) as notebook:
            for name in ("", "a/b", "..", "a\n", "a" * 65):
                assert (await call(notebook, "write_note", name=name, text="x")).is_error
    assert os.listdir(tmp_path) == ["notes"]
    assert os.listdir(tmp_path / "notes") == []
