"""Memories on their way out of a kernel and into one: as JSON Lines, and from other programs."""
