"""What the file may say of sessions and of extraction."""

from pathlib import Path

import pytest

from aios_mcp.config import ConfigError, load_config


def load(tmp_path: Path, text: str) -> None:
    file = tmp_path / "aios.toml"
    file.write_text(text)
    load_config(file)


def test_extraction_names_agents_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, '[memory.extract]\nagents = ["bob"]')
    [problem] = refused.value.problems
    assert "memory.extract.agents names 'bob', but there is no [agents.bob]" in problem


def test_extracted_kinds_need_no_data(tmp_path: Path) -> None:
    text = """
[memory.kinds.fact]
data_schema = { type = "object" }
[memory.extract]
agents = ["local"]
"""
    with pytest.raises(
        ConfigError, match=r"memory\.extract\.kinds names 'fact', whose data must fit"
    ):
        load(tmp_path, text)


def test_a_rate_of_adds_is_written_like_other_rates(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'aios.toml:1: .*add_rate.*must be a rate, such as "60/'):
        load(tmp_path, 'agents.local.memory.add_rate = "many"')
