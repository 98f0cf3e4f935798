"""Takes fetched models off this machine: only `models rm` does this."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from aios_mcp.config import ConfigError
from aios_mcp.model_files import MINILM_FILE, hub_files, models_dir, parse_hub_spec, repo_folder
from aios_mcp.model_use import is_held


def remove_model(spec: str, cache_dir: Path, *, used: Mapping[Path, str]) -> int:
    """Delete a model that was fetched or converted; gives the bytes that this frees.

    What a broken-off fetch of the same repository has left goes with its last model.

    Args:
        spec: `minilm` or `hf:ORG/REPO[:FILE or QUANT]`.
        cache_dir: Where models are kept.
        used: Key of the configuration that names a model, by its file.

    Raises:
        ConfigError: It is not here, is used or open in a kernel, is none of ours to delete, or the
            spec fits several.
        OSError: A file cannot be deleted.
    """
    files = _files(spec, cache_dir)
    if key := used.get(files[0].resolve()):
        raise ConfigError(f"model {spec!r} is what {key} names; change that first")
    if is_held(files[0]):
        raise ConfigError(f"model {spec!r} is in use by a running kernel; stop that first")
    freed = sum(_remove(path) for path in files)
    if spec.startswith("hf:"):
        freed += _remove_rest(repo_folder(parse_hub_spec(spec).repo, cache_dir))
    return freed


def _files(spec: str, cache_dir: Path) -> tuple[Path, ...]:
    if spec == "minilm":
        path = models_dir(cache_dir) / MINILM_FILE
        if not path.is_file():
            raise ConfigError("model 'minilm' is not on this machine")
        return (path,)
    if not spec.startswith("hf:"):
        raise ConfigError(
            f"model {spec!r} is not one that `models pull` has put here; what it can delete is"
            " listed by: aios-mcp models list"
        )
    return hub_files(parse_hub_spec(spec), cache_dir)


def _remove_rest(folder: Path) -> int:
    """Delete the directory of a repository of which no model is left."""
    if any(path.is_file() for path in folder.glob("snapshots/**/*.gguf")):
        return 0
    freed = sum(path.stat().st_size for path in folder.glob("blobs/*"))
    shutil.rmtree(folder)
    return freed


def _remove(link: Path) -> int:
    """Delete a file of a snapshot and what it points at."""
    blob = link.resolve()
    size = blob.stat().st_size
    blob.unlink()
    link.unlink(missing_ok=True)
    return size
