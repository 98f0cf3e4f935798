"""`[memory.kinds.NAME]`: schemas that the data of memories must fit."""

from pathlib import Path

import pytest

from aios_mcp.config import ConfigError, load_config
from aios_mcp.errors import InvalidArgumentError
from aios_mcp.kernel.kinds import Kinds
from backends.messages import MemoryDraft


def test_a_kind_has_a_schema_as_a_table(tmp_path: Path) -> None:
    path = tmp_path / "aios.toml"
    path.write_text('[memory.kinds.task.data_schema]\ntype = "object"\nrequired = ["due"]\n')
    kind = load_config(path).config.memory.kinds["task"]
    assert kind.json_schema() == {"type": "object", "required": ["due"]}


def test_a_schema_may_refer_to_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "aios.toml"
    path.write_text(
        '[memory.kinds.task.data_schema]\nproperties = { due = { "$ref" = "#/$defs/due" } }\n'
        '"$defs" = { due = { type = "string" } }\n'
    )
    kinds = Kinds({"task": load_config(path).config.memory.kinds["task"].json_schema()})
    kinds.check(MemoryDraft(content="x", kind="task", data={"due": "Friday"}))
    with pytest.raises(InvalidArgumentError, match=r"'data\.due': 5 is not of type 'string'"):
        kinds.check(MemoryDraft(content="x", kind="task", data={"due": 5}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[memory.kinds.task.data_schema]\ntype = "objekt"\n', "is not a JSON Schema: 'objekt'"),
        (
            '[memory.kinds.task.data_schema.properties.due]\n"$ref" = "https://example.org/due"\n',
            "refers to 'https://example.org/due', which it does not hold",
        ),
        (
            '[memory.kinds.task.data_schema]\nallOf = [{ "$ref" = "#/$defs/due" }]\n',
            "refers to '#/\\$defs/due', which it does not hold",
        ),
        ("[memory.kinds.task]\nshema = {}\n", "did you mean 'data_schema'"),
    ],
)
def test_what_is_no_schema_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "aios.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_config(path)
