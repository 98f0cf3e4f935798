"""LLM cores and embedders over llama.cpp, each model in a worker process of its own."""

from backends.llama_cpp.core import LlamaCore, open_llama_core
from backends.llama_cpp.embedder import LlamaEmbedder, open_llama_embedder
from backends.llama_cpp.pool import ModelPool
from backends.llama_cpp.settings import BUNDLED_MODEL, LlamaSettings

__all__ = [
    "BUNDLED_MODEL",
    "LlamaCore",
    "LlamaEmbedder",
    "LlamaSettings",
    "ModelPool",
    "open_llama_core",
    "open_llama_embedder",
]
