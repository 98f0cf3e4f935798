"""`[memory.kinds.NAME]`: schemas that the data of memories must fit."""

from pathlib import Path

import pytest

from aios_mcp.config import ConfigError, load_config


def test_a_kind_has_a_schema_as_a_table(tmp_path: Path) -> None:
    path = tmp_path / "aios.toml"
    path.write_text('[memory.kinds.task.data_schema]\ntype = "object"\nrequired = ["due"]\n')
    kind = load_config(path).config.memory.kinds["task"]
    assert kind.json_schema() == {"type": "object", "required": ["due"]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[memory.kinds.task.data_schema]\ntype = "objekt"\n', "is not a JSON Schema: 'objekt'"),
        ("[memory.kinds.task]\nshema = {}\n", "did you mean 'data_schema'"),
    ],
)
def test_what_is_no_schema_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "aios.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_config(path)
