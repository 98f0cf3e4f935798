"""Model files by name: where a configuration's `model` is found. Never touches the network."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aios_mcp.config import ConfigError
from aios_mcp.directories import absolute
from backends.llama_cpp.gguf_info import ModelFileError, read_model_info
from backends.llama_cpp.settings import BUNDLED_MODEL

MINILM_FILE = "all-MiniLM-L6-v2.gguf"

_HUB_SPEC = re.compile(r"^hf:(?P<repo>[\w.-]{1,96}/[\w.-]{1,96})(?::(?P<file>[\w./+-]{1,255}))?$")
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
# Projectors of image models and importance matrices are GGUF files too, but no language models.
_NO_MODEL = re.compile(r"mmproj|imatrix", re.IGNORECASE)
_USUAL_QUANTS = ("Q4_K_M", "Q8_0", "Q5_K_M", "Q6_K", "F16")


class ModelPullError(Exception):
    """A model could not be fetched; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class HubSpec:
    """A model on a Hugging Face hub.

    Attributes:
        repo: `ORG/REPO`.
        wanted: A file of the repository or a quantisation, or "" for the usual one.
    """

    repo: str
    wanted: str = ""

    def __str__(self) -> str:
        return f"hf:{self.repo}:{self.wanted}" if self.wanted else f"hf:{self.repo}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model on this machine.

    Attributes:
        spec: What to write for `model` in the configuration.
        path: Its file, the first one of a model in several parts.
        size_bytes: Size of all its files.
    """

    spec: str
    path: Path
    size_bytes: int

    @property
    def last_read(self) -> float:
        """When its file was read last, in Unix seconds, as the file system has it."""
        return self.path.stat().st_atime


def models_dir(cache_dir: Path) -> Path:
    """Give the directory of fetched and converted models, in the hub's own layout."""
    return cache_dir / "models"


def resolve_model(spec: str, *, cache_dir: Path, base: Path) -> Path:
    """Give the GGUF file that `bundled`, `minilm`, `hf:ORG/REPO[:FILE or QUANT]` or a path means.

    Raises:
        ConfigError: It is not on this machine or no model; the text names what to do.
    """
    if spec == "bundled":
        return _checked(BUNDLED_MODEL, spec)
    if spec == "minilm":
        path = models_dir(cache_dir) / MINILM_FILE
        if not path.is_file():
            raise ConfigError("model 'minilm' is not here yet; run: aios-mcp models pull minilm")
        return _checked(path, spec)
    if spec.startswith("hf:"):
        return _checked(_resolve_hub(parse_hub_spec(spec), cache_dir), spec)
    return _checked(absolute(spec, base), spec)


def parse_hub_spec(spec: str) -> HubSpec:
    """Read `hf:ORG/REPO[:FILE or QUANT]`.

    Raises:
        ConfigError: It is not of that form.
    """
    found = _HUB_SPEC.match(spec)
    if found is None or ".." in spec:
        raise ConfigError(
            f"model {spec!r} cannot be understood; write hf:ORG/REPO, hf:ORG/REPO:Q4_K_M or"
            " hf:ORG/REPO:file.gguf"
        )
    return HubSpec(found["repo"], found["file"] or "")


def choose_files(spec: HubSpec, files: Sequence[str]) -> tuple[str, ...]:
    """Choose among a repository's files those that a spec means: all parts of one model, in order.

    Raises:
        ConfigError: None fits, or several do; the text lists them.
    """
    models = sorted(name for name in files if name.endswith(".gguf") and not _NO_MODEL.search(name))
    firsts = [name for name in models if (part := _PART.search(name)) is None or int(part[1]) == 1]
    fitting = _fitting(spec.wanted, firsts)
    if len(fitting) != 1:
        listed = ", ".join((fitting or firsts)[:20]) or "no GGUF files"
        problem = "several files fit" if fitting else "no file fits"
        raise ConfigError(f"{spec}: {problem}; name one after a colon. There are: {listed}")
    stem = _PART.sub("", fitting[0])
    is_whole = _PART.search(fitting[0]) is None
    return tuple(
        name for name in models if name == fitting[0] or (not is_whole and _is_part(name, stem))
    )


def list_models(cache_dir: Path) -> tuple[LocalModel, ...]:
    """List the models on this machine: the bundled one, the embedder, and those from a hub."""
    found = [LocalModel(spec="bundled", path=BUNDLED_MODEL, size_bytes=_size(BUNDLED_MODEL))]
    minilm = models_dir(cache_dir) / MINILM_FILE
    if minilm.is_file():
        found.append(LocalModel(spec="minilm", path=minilm, size_bytes=_size(minilm)))
    return (*found, *_hub_models(cache_dir))


def _hub_models(cache_dir: Path) -> Iterator[LocalModel]:
    for folder in sorted(models_dir(cache_dir).glob("models--*--*")):
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        snapshot = _snapshot(folder)
        names = _names(snapshot)
        for name in names:
            part = _PART.search(name)
            if part is not None and int(part[1]) != 1:
                continue
            stem = _PART.sub("", name)
            parts = [name] if part is None else [each for each in names if _is_part(each, stem)]
            yield LocalModel(
                spec=f"hf:{repo}:{name}",
                path=snapshot / name,
                size_bytes=sum(_size(snapshot / each) for each in parts),
            )


def repo_folder(repo: str, cache_dir: Path) -> Path:
    """Give the directory of all that was fetched of a repository."""
    return models_dir(cache_dir) / f"models--{repo.replace('/', '--')}"


def hub_files(spec: HubSpec, cache_dir: Path) -> tuple[Path, ...]:
    """Give the files here of a model from a hub: all of its parts that are here, in order.

    Raises:
        ConfigError: It is not on this machine, or several models fit.
    """
    snapshot = _snapshot(repo_folder(spec.repo, cache_dir))
    names = _names(snapshot)
    if not names:
        raise ConfigError(f"model '{spec}' is not on this machine")
    return tuple(snapshot / name for name in choose_files(spec, names))


def _resolve_hub(spec: HubSpec, cache_dir: Path) -> Path:
    snapshot = _snapshot(repo_folder(spec.repo, cache_dir))
    pull = f"run: aios-mcp models pull {spec}"
    names = _names(snapshot)
    if not names:
        raise ConfigError(f"model '{spec}' is not on this machine; {pull}")
    try:
        files = choose_files(spec, names)
    except ConfigError as exc:
        raise ConfigError(f"{exc}. To fetch another one, {pull}") from exc
    part = _PART.search(files[0])
    if part is not None and len(files) < int(part[2]):
        raise ConfigError(f"model '{spec}' is here in part only; {pull}")
    return snapshot / files[0]


def _snapshot(folder: Path) -> Path:
    """Give the files of the revision fetched last, as the hub's cache notes it."""
    try:
        commit = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        commit = "absent"
    return folder / "snapshots" / commit


def _names(snapshot: Path) -> list[str]:
    return sorted(
        path.relative_to(snapshot).as_posix()
        for path in snapshot.rglob("*.gguf")
        if path.is_file()  # a link whose blob is gone is not
    )


def _fitting(wanted: str, names: Sequence[str]) -> list[str]:
    if wanted.endswith(".gguf"):
        return [name for name in names if name == wanted]
    if wanted:
        return [name for name in names if _has_quant(name, wanted)]
    if len(names) == 1:
        return list(names)
    for quant in _USUAL_QUANTS:
        if found := [name for name in names if _has_quant(name, quant)]:
            return found
    return []


def _has_quant(name: str, quant: str) -> bool:
    pattern = rf"(?:^|[-._/]){re.escape(quant)}(?:$|[-./])"
    return re.search(pattern, name.removesuffix(".gguf"), re.IGNORECASE) is not None


def _is_part(name: str, stem: str) -> bool:
    return _PART.search(name) is not None and _PART.sub("", name) == stem


def _size(path: Path) -> int:
    return path.stat().st_size


def _checked(path: Path, spec: str) -> Path:
    """Refuse a damaged file at the start rather than at the first call."""
    try:
        read_model_info(path)
    except ModelFileError as exc:
        raise ConfigError(f"model {spec!r} ({path}): {exc}") from exc
    return path
