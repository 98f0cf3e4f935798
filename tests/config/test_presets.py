"""The table of known endpoints, and what a file makes of it."""

from pathlib import Path
from typing import get_args

import pytest

from aios_mcp.config import ConfigError, load_config
from aios_mcp.config.core_parts import OpenAICorePart
from aios_mcp.config.presets import PRESETS, PresetName
from backends.messages import GenerateRequest
from backends.openai_compatible import OpenAISettings


def test_every_name_has_a_preset_and_every_preset_can_be_used() -> None:
    assert set(PRESETS) == set(get_args(PresetName))
    for name, preset in PRESETS.items():
        settings = OpenAISettings(name=name, base_url=preset.base_url, model="m")
        is_https = settings.base_url.startswith("https://")
        assert settings.is_loopback or is_https, name  # a key must not travel in the open


def test_presets_lack_only_what_a_request_can_ask_for() -> None:
    known = set(GenerateRequest.__dataclass_fields__)
    assert all(preset.lacks <= known for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("schema", "tools", "lacks"),
    [
        (None, None, {"schema", "logprobs"}),
        (True, None, {"logprobs"}),
        (False, False, {"schema", "logprobs", "tools"}),
    ],
)
def test_who_knows_better_of_schemas_and_tools_is_believed(
    schema: bool | None, tools: bool | None, lacks: set[str]
) -> None:
    found = PRESETS["anthropic"].lacks_with(schema=schema, tools=tools)
    assert {"schema", "logprobs", "tools"} & found == lacks


def test_a_preset_stands_in_for_the_address_and_may_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "aios.toml"
    path.write_text(
        '[cores.a]\nbackend = "openai"\npreset = "groq"\nmodel = "m"\n'
        '[cores.b]\nbackend = "openai"\npreset = "ollama"\nmodel = "m"\nbase_url = "http://box/v1"'
    )
    cores = load_config(path).config.cores
    a, b = cores["a"], cores["b"]
    assert isinstance(a, OpenAICorePart)
    assert isinstance(b, OpenAICorePart)
    assert (a.preset, a.base_url, b.base_url) == ("groq", None, "http://box/v1")


def test_an_embedder_needs_an_address_too(tmp_path: Path) -> None:
    path = tmp_path / "aios.toml"
    path.write_text('[embedders.x]\nmodel = "m"')
    with pytest.raises(ConfigError, match=r"embedders\.x: needs base_url"):
        load_config(path)
