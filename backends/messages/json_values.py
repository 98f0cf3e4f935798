"""JSON as values."""

from collections.abc import Mapping
from typing import TypeAlias

JsonObject: TypeAlias = Mapping[str, object]
"""A JSON object as parsed; never changed after it was made."""
