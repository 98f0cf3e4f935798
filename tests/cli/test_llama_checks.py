"""What the doctor says of llama.cpp's build, of GPU settings, and of models that do not fit."""

import re

import pytest

from aios_mcp.cli import main
from aios_mcp.cli.llama_checks import gpu_settings, install_commands
from aios_mcp.config.core_parts import LlamaCorePart
from backends.llama_cpp.build_info import BuildInfo, look
from tests.cli.commands import Place

CPU_ONLY = BuildInfo(version="0.3.36", gpu_offload=False, features=())
ONE_GPU = BuildInfo(version="0.3.36", gpu_offload=True, features=(), gpus=1)


def core(**settings: object) -> LlamaCorePart:
    return LlamaCorePart.model_validate({"backend": "llama_cpp", **settings})


@pytest.mark.parametrize(
    ("settings", "build", "state", "text"),
    [
        ({"gpu_layers": -1}, CPU_ONLY, "broken", r"cores\.c\.gpu_layers = -1, but this build is"),
        ({"gpu_layers": 9, "main_gpu": 1}, ONE_GPU, "broken", r"cores\.c\.main_gpu = 1, but llama"),
        ({"main_gpu": 0}, ONE_GPU, "note", r"cores\.c: main_gpu and split_mode do nothing"),
        ({"split_mode": "row"}, CPU_ONLY, "note", r"cores\.c: main_gpu and split_mode do nothing"),
    ],
)
def test_settings_of_gpus_that_have_no_effect_are_named_by_key(
    settings: dict[str, object], build: BuildInfo, state: str, text: str
) -> None:
    [finding] = gpu_settings({"c": core(**settings)}, build)
    assert finding.state == state
    assert re.match(text, finding.text)
    assert "gpu_layers" in finding.fix or "count from 0" in finding.fix


@pytest.mark.parametrize(("settings", "build"), [({}, CPU_ONLY), ({"gpu_layers": -1}, ONE_GPU)])
def test_settings_that_this_build_can_follow_are_passed_over(
    settings: dict[str, object], build: BuildInfo
) -> None:
    assert not list(gpu_settings({"c": core(**settings)}, build))


def test_each_kind_of_gpu_has_its_install_command() -> None:
    commands = install_commands().splitlines()
    kinds = [
        re.search(r"-DGGML_(\w+)=on pip install .*--no-binary llama-cpp", each) for each in commands
    ]
    assert {found[1] for found in kinds if found} == {"CUDA", "METAL", "VULKAN"}


def test_the_installed_build_has_a_processor_among_its_backends() -> None:
    info = look()
    assert "CPU" in info.backends
    assert info.gpus == 0 or info.gpu_offload


def test_a_gpu_that_is_asked_of_a_build_without_one_is_broken(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    if look().gpu_offload:
        pytest.skip("this build has a GPU")
    place.configure('[cores.c]\nbackend = "llama_cpp"\ngpu_layers = 20')
    assert main(["doctor", "--config", str(place.config)]) == 1
    shown = capsys.readouterr().out
    assert "✗ GPU            cores.c.gpu_layers = 20, but this build is for the CPU only" in shown
    assert "→ set cores.c.gpu_layers = 0, or install a build for the GPU:" in shown
    assert shown.endswith("1 broken\n")


def test_a_model_that_does_not_fit_is_broken_with_figures(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure('[limits]\nmodel_memory_mb = 80\n[cores.c]\nbackend = "llama_cpp"\nslots = 64')
    assert main(["doctor", "--config", str(place.config)]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"✗ model memory   cores\.c: needs \d+ MiB of memory \(weights", shown)
    assert "limits.model_memory_mb allows 76 MiB" in shown
