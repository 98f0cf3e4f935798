"""Fetches models from a Hugging Face hub, and makes the embedder: only `models pull` does this."""

import hashlib
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol, Self, cast

from httpx2 import HTTPError
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from aios_mcp.model_files import (
    MINILM_FILE,
    ModelPullError,
    choose_files,
    models_dir,
    parse_hub_spec,
)
from backends.embedding import convert_minilm

_READ_BYTES = 1024 * 1024
_HUB_SECONDS = 30.0

OnProgress = Callable[[str, int, int], None]
"""Told the name of a file, the bytes that are here, and the bytes it has (0 while unknown)."""


def pull_model(spec: str, cache_dir: Path, on_progress: OnProgress) -> Path:
    """Fetch a model, or make the embedder from its installed weights; gives its file.

    HF_ENDPOINT names another hub than the public one. A broken connection is resumed where it
    broke; what arrives is compared with the hub's checksum, and deleted if it differs.

    Raises:
        ConfigError: The spec cannot be understood, or fits no file.
        ModelPullError: The hub cannot be reached or has no such model, or a file is damaged.
    """
    folder = models_dir(cache_dir)
    if spec == "minilm":
        folder.mkdir(parents=True, exist_ok=True)
        convert_minilm(folder / MINILM_FILE)
        return folder / MINILM_FILE
    hub = parse_hub_spec(spec)
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        files = _files_of(hub.repo, endpoint)
        chosen = choose_files(hub, list(files))
        paths = [
            _fetch(hub.repo, files[name], folder, endpoint=endpoint, on_progress=on_progress)
            for name in chosen
        ]
    except RepositoryNotFoundError as exc:
        raise ModelPullError(
            f"{spec}: the hub has no such repository, or it is not public; for a private one set"
            " HF_TOKEN"
        ) from exc
    except HfHubHTTPError as exc:
        raise ModelPullError(
            f"{spec}: the hub answered with status {exc.response.status_code}; try again later"
        ) from exc
    except (HTTPError, OSError) as exc:
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        raise ModelPullError(
            f"{spec}: could not be fetched ({reason}); check the connection, HF_ENDPOINT and the"
            f" space in {folder}, then run the same command again"
        ) from exc
    return paths[0]


class _Checksum(Protocol):
    sha256: str


class _HubFile(Protocol):
    """A file of a repository as the hub lists it."""

    rfilename: str
    lfs: _Checksum | None


class _HubInfo(Protocol):
    siblings: list[_HubFile] | None


class _Hub(Protocol):
    def model_info(self, repo: str, *, files_metadata: bool, timeout: float) -> _HubInfo: ...


class _HuggingFace(Protocol):
    """The part of `huggingface_hub` that is used here; its own types are in part unknown."""

    def HfApi(self, *, endpoint: str | None) -> _Hub: ...

    def hf_hub_download(
        self, repo: str, file: str, *, cache_dir: Path, endpoint: str | None, tqdm_class: type
    ) -> str: ...


_HUGGING_FACE = cast("_HuggingFace", import_module("huggingface_hub"))


def _files_of(repo: str, endpoint: str | None) -> dict[str, _HubFile]:
    hub = _HUGGING_FACE.HfApi(endpoint=endpoint)
    info = hub.model_info(repo, files_metadata=True, timeout=_HUB_SECONDS)
    return {file.rfilename: file for file in info.siblings or ()}


def _fetch(
    repo: str, file: _HubFile, folder: Path, *, endpoint: str | None, on_progress: OnProgress
) -> Path:
    fetched = _HUGGING_FACE.hf_hub_download(
        repo,
        file.rfilename,
        cache_dir=folder,
        endpoint=endpoint,
        tqdm_class=_progress_bar(file.rfilename, on_progress),
    )
    path = Path(fetched)
    expected = file.lfs.sha256 if file.lfs else None
    if expected is not None and _sha256(path) != expected:
        path.resolve().unlink()  # what the link in the snapshot points at
        path.unlink(missing_ok=True)
        raise ModelPullError(
            f"{file.rfilename}: what arrived does not have the hub's checksum and was deleted; run"
            " the same command again"
        )
    return path


def _progress_bar(name: str, on_progress: OnProgress) -> type:
    """Make a class with what huggingface_hub calls of a progress bar, which draws nothing."""

    class ProgressBar:
        def __init__(self, *, total: float | None = None, initial: float = 0, **_: object) -> None:
            self._whole = int(total or 0)
            self._here = int(initial)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def update(self, size_bytes: float = 1) -> None:
            self._here += int(size_bytes)
            on_progress(name, self._here, self._whole)

        def close(self) -> None:
            """Nothing was opened."""

    return ProgressBar


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
