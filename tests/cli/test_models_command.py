import pytest

from aios_mcp.cli import main
from backends.llama_cpp import BUNDLED_MODEL
from tests.cli.commands import Place
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
    assert capsys.readouterr().out.splitlines() == [
        "       1.0 MB  bundled",
        "       1.0 MB  hf:org/model:some-model-Q4_K_M.gguf",
    ]


def test_a_hub_that_cannot_be_reached_is_told(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["models", "pull", "hf:org/model", "--config", str(place.config)]) == 1
    told = capsys.readouterr().err
    assert "hf:org/model: could not be fetched (ConnectError); check the connection" in told
