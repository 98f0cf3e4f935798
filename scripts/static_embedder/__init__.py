"""The recipe of the static embedder: `python -m scripts.static_embedder`."""
