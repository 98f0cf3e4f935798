"""LLM cores and embedders at OpenAI-compatible endpoints: OpenAI, Ollama, vLLM and many others."""

from backends.openai_compatible.core import OpenAICore, open_openai_core
from backends.openai_compatible.embedder import OpenAIEmbedder, open_openai_embedder
from backends.openai_compatible.settings import OpenAISettings

__all__ = [
    "OpenAICore",
    "OpenAIEmbedder",
    "OpenAISettings",
    "open_openai_core",
    "open_openai_embedder",
]
