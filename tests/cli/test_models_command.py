import re
import subprocess
import sys

import pytest

from aios_mcp.cli import main
from backends.llama_cpp import BUNDLED_MODEL
from tests.cli.commands import ROOT, Place
from tests.hub import Hub, serve_hub


def test_a_model_is_pulled_and_listed(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ["--config", str(place.config)]
    model = {"some-model-Q4_K_M.gguf": BUNDLED_MODEL.read_bytes()}
    with serve_hub(Hub(repos={"org/model": model})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert main(["models", "pull", "hf:org/model:Q4_K_M", *config]) == 0
        assert main(["models", "pull", "hf:org/absent", *config]) == 1
        assert main(["models", "pull", "hf:org/model:Q8_0", *config]) == 2
    pulled = capsys.readouterr()
    assert "hf:org/model:Q4_K_M is ready: " in pulled.out
    assert "some-model-Q4_K_M.gguf  1.0 of 1.0 MB  100%" in pulled.err
    assert "aios-mcp: hf:org/absent: the hub has no such repository" in pulled.err
    assert "There are: some-model-Q4_K_M.gguf" in pulled.err
    assert main(["models", "list", *config]) == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert listed[0] == ["MODEL", "SIZE", "FORMAT", "CONTEXT", "MEMORY", "LAST", "USED"]
    bundled, fetched = listed[1:]
    assert bundled[:5] == ["bundled", "1.0", "MB", "Q8_0", "2,048"]
    assert fetched[0] == "hf:org/model:some-model-Q4_K_M.gguf"
    assert fetched[1:7] == bundled[1:7]  # the same file, so the same figures
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", fetched[-1])


def test_a_model_is_deleted_with_what_it_frees_unless_the_configuration_names_it(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        f"m-{quant}.gguf": BUNDLED_MODEL.read_bytes() + bytes(at)
        for at, quant in enumerate(("Q4_K_M", "Q8_0"))
    }
    config = ["--config", str(place.config)]
    with serve_hub(Hub(repos={"org/model": files})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        for quant in ("Q4_K_M", "Q8_0"):
            assert main(["models", "pull", f"hf:org/model:{quant}", *config]) == 0
    place.configure('[cores.c]\nbackend = "llama_cpp"\nmodel = "hf:org/model:Q8_0"')
    capsys.readouterr()

    assert main(["models", "rm", "hf:org/model:Q8_0", *config]) == 2
    assert "is what cores.c.model names; change that first" in capsys.readouterr().err
    assert main(["models", "rm", "hf:org/model:Q4_K_M", *config]) == 0
    assert capsys.readouterr().out == "hf:org/model:Q4_K_M is deleted; that frees 1.0 MB\n"
    assert main(["models", "rm", "hf:org/model:Q4_K_M", *config]) == 2
    assert "There are: m-Q8_0.gguf" in capsys.readouterr().err
    place.configure()
    assert main(["models", "rm", "hf:org/model", *config]) == 0
    assert not list((place.path / "cache" / "models").iterdir())


def test_a_model_that_a_kernel_has_open_is_not_deleted_until_it_ends(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ["--config", str(place.config)]
    files = {"m-Q8_0.gguf": BUNDLED_MODEL.read_bytes()}
    with serve_hub(Hub(repos={"org/model": files})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert main(["models", "pull", "hf:org/model", *config]) == 0
    place.configure('[cores.c]\nbackend = "llama_cpp"\nmodel = "hf:org/model"')
    kernel = subprocess.Popen(
        [sys.executable, "-m", "aios_mcp", "serve", "--http", "127.0.0.1:0", *config],
        cwd=ROOT,
        env=place.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert kernel.stderr is not None
        assert "serving" in kernel.stderr.readline()
        place.configure()
        capsys.readouterr()
        assert main(["models", "rm", "hf:org/model", *config]) == 2
        assert "is in use by a running kernel; stop that first" in capsys.readouterr().err
    finally:
        kernel.kill()  # it needs no chance to tidy up
        kernel.communicate(timeout=30)
    assert main(["models", "rm", "hf:org/model", *config]) == 0


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("bundled", "is not one that `models pull` has put here"),
        ("/etc/passwd", "is not one that `models pull` has put here"),
        ("minilm", "is not on this machine"),
        ("hf:org/absent", "is not on this machine"),
    ],
)
def test_what_was_not_fetched_is_not_deleted(
    place: Place, capsys: pytest.CaptureFixture[str], spec: str, reason: str
) -> None:
    assert main(["models", "rm", spec, "--config", str(place.config)]) == 2
    assert reason in capsys.readouterr().err


def test_a_hub_that_cannot_be_reached_is_told(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["models", "pull", "hf:org/model", "--config", str(place.config)]) == 1
    told = capsys.readouterr().err
    assert "hf:org/model: could not be fetched (ConnectError); check the connection" in told
