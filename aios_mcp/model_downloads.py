"""Fetches models from a Hugging Face hub, and makes the embedder: only `models pull` does this."""

import os
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from httpx2 import HTTPError, HTTPStatusError
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from aios_mcp.hub_files import ChecksumError, HubFile, NoSpaceError, OnProgress, fetch_file
from aios_mcp.model_files import (
    MINILM_FILE,
    ModelPullError,
    choose_files,
    models_dir,
    parse_hub_spec,
)
from backends.embedding import convert_minilm

_HUB_SECONDS = 30.0
_MB = 1_000_000


def pull_model(spec: str, cache_dir: Path, on_progress: OnProgress) -> Path:
    """Fetch a model, or make the embedder from its installed weights; gives its file.

    HF_ENDPOINT names another hub than the public one. What was broken off goes on where it broke,
    also after a restart; what arrives is compared with the hub's checksum, and deleted if it
    differs.

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
            fetch_file(files[name], folder, endpoint=endpoint, on_progress=on_progress)
            for name in chosen
        ]
    except RepositoryNotFoundError as exc:
        raise ModelPullError(
            f"{spec}: the hub has no such repository, or it is not public; for a private one set"
            " HF_TOKEN"
        ) from exc
    except ChecksumError as exc:
        raise ModelPullError(
            f"{exc}: what arrived does not have the hub's checksum and was deleted; run the same"
            " command again"
        ) from exc
    except NoSpaceError as exc:
        raise ModelPullError(
            f"{spec}: {exc.wanted / _MB:.0f} MB are to come, and {exc.left / _MB:.0f} MB are free"
            f" in {folder}; make room, or set kernel.cache_dir"
        ) from exc
    except (HfHubHTTPError, HTTPStatusError) as exc:
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
    size: int


class _Sibling(Protocol):
    """A file of a repository as `huggingface_hub` lists it."""

    rfilename: str
    lfs: _Checksum | None


class _HubInfo(Protocol):
    sha: str
    siblings: list[_Sibling] | None


class _Hub(Protocol):
    def model_info(self, repo: str, *, files_metadata: bool, timeout: float) -> _HubInfo: ...


class _HuggingFace(Protocol):
    """The part of `huggingface_hub` that is used here; its own types are in part unknown."""

    def HfApi(self, *, endpoint: str | None) -> _Hub: ...


_HUGGING_FACE = cast("_HuggingFace", import_module("huggingface_hub"))


def _files_of(repo: str, endpoint: str | None) -> dict[str, HubFile]:
    """List the large files of a repository: those that the hub has a checksum of."""
    hub = _HUGGING_FACE.HfApi(endpoint=endpoint)
    info = hub.model_info(repo, files_metadata=True, timeout=_HUB_SECONDS)
    files = [
        HubFile(
            repo=repo,
            commit=info.sha,
            name=each.rfilename,
            size_bytes=each.lfs.size,
            sha256=each.lfs.sha256,
        )
        for each in info.siblings or ()
        if each.lfs is not None
    ]
    return {file.name: file for file in files if file.is_sound}
