import hashlib
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from aios_mcp.config import ConfigError
from aios_mcp.model_downloads import pull_model
from aios_mcp.model_files import (
    ModelPullError,
    choose_files,
    list_models,
    models_dir,
    parse_hub_spec,
    resolve_model,
)
from backends.llama_cpp import BUNDLED_MODEL
from tests.hub import Hub, serve_hub

GGUF = BUNDLED_MODEL.read_bytes()
REPO = "org/some-model-GGUF"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Generator[Hub]:
    files = {"some-model-Q4_K_M.gguf": GGUF, "some-model-F16.gguf": GGUF + b"\0", "README.md": b"#"}
    with serve_hub(Hub(repos={REPO: files})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


def blobs(cache: Path) -> Path:
    return models_dir(cache) / f"models--{REPO.replace('/', '--')}" / "blobs"


def pull(spec: str, cache: Path) -> Path:
    return pull_model(spec, cache, lambda name, here, whole: None)


@pytest.mark.parametrize(
    ("spec", "files", "expected"),
    [
        ("hf:o/r", ["a.gguf", "README.md"], ["a.gguf"]),
        ("hf:o/r", ["a-Q8_0.gguf", "a-Q4_K_M.gguf", "mmproj-F16.gguf"], ["a-Q4_K_M.gguf"]),
        ("hf:o/r:q8_0", ["a-Q8_0.gguf", "a-Q4_K_M.gguf"], ["a-Q8_0.gguf"]),
        ("hf:o/r:Q4_K", ["a-Q4_K_M.gguf", "a.Q4_K.gguf"], ["a.Q4_K.gguf"]),
        ("hf:o/r:sub/a.gguf", ["a.gguf", "sub/a.gguf"], ["sub/a.gguf"]),
        (
            "hf:o/r:Q8_0",
            ["a-Q8_0-00002-of-00002.gguf", "a-Q8_0-00001-of-00002.gguf", "b.gguf"],
            ["a-Q8_0-00001-of-00002.gguf", "a-Q8_0-00002-of-00002.gguf"],
        ),
    ],
)
def test_a_spec_means_one_model_and_all_of_its_parts(
    spec: str, files: list[str], expected: list[str]
) -> None:
    assert list(choose_files(parse_hub_spec(spec), files)) == expected


@pytest.mark.parametrize(
    ("spec", "files", "reason"),
    [
        ("hf:o/r", ["a-IQ1.gguf", "b-IQ1.gguf"], "no file fits"),
        ("hf:o/r:Q8_0", ["a-Q8_0.gguf", "b-Q8_0.gguf"], "several files fit"),
        ("hf:o/r:Q8_0", ["README.md"], "There are: no GGUF files"),
        ("hf:o/r:c.gguf", ["a.gguf"], "There are: a.gguf"),
    ],
)
def test_a_spec_that_means_none_or_several_is_refused_with_the_choice(
    spec: str, files: list[str], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        choose_files(parse_hub_spec(spec), files)


@pytest.mark.parametrize("spec", ["hf:", "hf:repo", "hf:a/b/c", "hf:../x", "hf:a/b:../../etc"])
def test_a_spec_of_another_form_is_refused(spec: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hf:ORG/REPO:Q4_K_M"):
        resolve_model(spec, cache_dir=tmp_path, base=tmp_path)


def test_a_pulled_model_is_found_again_without_the_network(hub: Hub, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    def tell(name: str, here: int, whole: int) -> None:
        told.append((name, here, whole))

    path = pull_model(f"hf:{REPO}:Q4_K_M", tmp_path, tell)
    assert path.read_bytes() == GGUF
    assert told[-1] == ("some-model-Q4_K_M.gguf", len(GGUF), len(GGUF))
    hub.requests.clear()
    for spec in (f"hf:{REPO}", f"hf:{REPO}:q4_k_m", f"hf:{REPO}:some-model-Q4_K_M.gguf"):
        assert resolve_model(spec, cache_dir=tmp_path, base=tmp_path) == path
    listed = {model.spec: model for model in list_models(tmp_path)}
    assert set(listed) == {"bundled", f"hf:{REPO}:some-model-Q4_K_M.gguf"}
    assert listed[f"hf:{REPO}:some-model-Q4_K_M.gguf"].size_bytes == len(GGUF)
    assert not hub.requests


def test_a_model_in_parts_is_pulled_whole(hub: Hub, tmp_path: Path) -> None:
    names = [f"big-Q8_0-0000{part}-of-00003.gguf" for part in (1, 2, 3)]
    hub.repos[REPO] = dict.fromkeys(names, GGUF)
    path = pull(f"hf:{REPO}:Q8_0", tmp_path)
    assert path.name == names[0]
    assert sorted(each.name for each in path.parent.iterdir()) == names
    [part] = [model for model in list_models(tmp_path) if model.spec.startswith("hf:")]
    assert part.size_bytes == 3 * len(GGUF)
    (path.parent / names[2]).unlink()
    with pytest.raises(ConfigError, match="in part only; run: aios-mcp models pull"):
        resolve_model(f"hf:{REPO}:Q8_0", cache_dir=tmp_path, base=tmp_path)


def test_a_cut_connection_is_resumed_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = 1000
    assert pull(f"hf:{REPO}:Q4_K_M", tmp_path).read_bytes() == GGUF
    assert hub.ranges == ["bytes=1000-"]


_PULL = """
import sys
from pathlib import Path
from aios_mcp.model_downloads import pull_model

pull_model(sys.argv[1], Path(sys.argv[2]), lambda name, here, whole: print(here, flush=True))
"""


def test_a_pull_that_was_killed_goes_on_where_it_stood(hub: Hub, tmp_path: Path) -> None:
    hub.repos[REPO] = {"large-F16.gguf": GGUF + bytes(4_000_000)}
    hub.stall_after = 3_000_000
    command = [sys.executable, "-c", _PULL, f"hf:{REPO}", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as pulling:
        assert pulling.stdout is not None
        here = int(pulling.stdout.readline())
        assert hub.stalled.wait(60)
        pulling.kill()
        here = max([here, *map(int, pulling.stdout.read().split())])
    assert 0 < here <= 3_000_000
    assert pull(f"hf:{REPO}", tmp_path).read_bytes() == GGUF + bytes(4_000_000)
    [resumed] = hub.ranges
    assert here <= int(resumed.removeprefix("bytes=").removesuffix("-")) <= 3_000_000


def test_a_part_that_was_damaged_meanwhile_is_found_out(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = 1000
    hub.repos[REPO] = {"some-model-F16.gguf": GGUF}
    part = blobs(tmp_path) / f"{hashlib.sha256(GGUF).hexdigest()}.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"not the beginning of it")
    with pytest.raises(ModelPullError, match="does not have the hub's checksum and was deleted"):
        pull(f"hf:{REPO}", tmp_path)
    assert pull(f"hf:{REPO}", tmp_path).read_bytes() == GGUF


def test_a_hub_cannot_write_outside_the_cache(hub: Hub, tmp_path: Path) -> None:
    hub.repos[REPO] = {"../../../../../evil-F16.gguf": GGUF}
    with pytest.raises(ConfigError, match="no GGUF files"):
        pull(f"hf:{REPO}:F16", tmp_path / "cache")


def test_a_file_without_the_hubs_checksum_is_deleted(hub: Hub, tmp_path: Path) -> None:
    hub.wrong_checksums.add("some-model-F16.gguf")
    with pytest.raises(ModelPullError, match="does not have the hub's checksum and was deleted"):
        pull(f"hf:{REPO}:F16", tmp_path)
    digest = hashlib.sha256(GGUF + b"\0").hexdigest()
    left = [path for path in models_dir(tmp_path).rglob("*") if path.is_file()]
    assert digest not in {hashlib.sha256(path.read_bytes()).hexdigest() for path in left}
    with pytest.raises(ConfigError, match="not on this machine"):
        resolve_model(f"hf:{REPO}:F16", cache_dir=tmp_path, base=tmp_path)


def test_an_unknown_repository_is_named(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelPullError, match="hf:org/absent: the hub has no such repository"):
        pull("hf:org/absent", tmp_path)


def test_a_model_that_is_not_here_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    for spec in (f"hf:{REPO}:Q4_K_M", "minilm"):
        with pytest.raises(ConfigError, match=f"run: aios-mcp models pull {spec}"):
            resolve_model(spec, cache_dir=tmp_path, base=tmp_path)


def test_a_path_starts_from_the_configurations_directory(tmp_path: Path) -> None:
    shutil.copy(BUNDLED_MODEL, tmp_path / "m.gguf")
    assert resolve_model("m.gguf", cache_dir=Path("/"), base=tmp_path) == tmp_path / "m.gguf"
    assert resolve_model("bundled", cache_dir=Path("/"), base=tmp_path) == BUNDLED_MODEL


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        (b"", "not a GGUF file"),
        (b"GGUF", "cut short"),
        (GGUF[: len(GGUF) // 2], "damaged; download it again"),
        (b"PK\3\4" + GGUF, "not a GGUF file"),
    ],
)
def test_a_damaged_model_is_refused_at_the_start(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        resolve_model("m.gguf", cache_dir=tmp_path, base=tmp_path)
    assert str(path) in str(caught.value)
