"""Tokens per second as they come: by agent and by core, over the last seconds."""

import math

_SECONDS = 10.0


class Throughput:
    """Averages whose past fades within seconds; read and fed in constant time."""

    def __init__(self) -> None:
        self._rates: dict[str, tuple[float, float]] = {}

    def add(self, name: str, tokens: int, now: float) -> None:
        """Count tokens that came just now."""
        self._rates[name] = (self.rate(name, now) + tokens / _SECONDS, now)

    def rate(self, name: str, now: float) -> float:
        """Give the tokens per second of late; they fade by two thirds in ten seconds."""
        rate, at = self._rates.get(name, (0.0, now))
        return rate * math.exp((at - now) / _SECONDS)
