"""LLM cores at OpenAI-compatible endpoints: OpenAI, Ollama, vLLM, llama-server and many others."""

from backends.openai_compatible.core import OpenAICore, open_openai_core
from backends.openai_compatible.settings import OpenAISettings

__all__ = ["OpenAICore", "OpenAISettings", "open_openai_core"]
