"""Embedding without a download: a static table, and the recipe for the real model's file."""

from backends.embedding.convert import convert_minilm
from backends.embedding.static import StaticEmbedder

__all__ = ["StaticEmbedder", "convert_minilm"]
