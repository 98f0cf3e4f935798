"""How fast cores are, as measured on the calls that they answered."""

from collections.abc import Mapping
from dataclasses import dataclass

_SMOOTHING = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """A core's speed for one call, smoothed over its last ones.

    Attributes:
        first_seconds: From its lease to the first sign of the answer.
        tokens_per_second: From then on; None where no answer had more than one token.
    """

    first_seconds: float
    tokens_per_second: float | None

    def seconds_for(self, tokens: int) -> float:
        """Predict how long an answer of so many tokens takes."""
        rate = self.tokens_per_second
        return self.first_seconds + (0.0 if rate is None else tokens / rate)


class Speeds:
    """The speeds of all cores that have answered."""

    def __init__(self) -> None:
        self._speeds: dict[str, Speed] = {}

    def note(self, core: str, *, first_seconds: float, seconds: float, tokens: int) -> None:
        """Take an answer into account.

        Args:
            core: Who gave it.
            first_seconds: From its lease to its first sign.
            seconds: To its end.
            tokens: Generated tokens.
        """
        writing = seconds - first_seconds
        rate = (tokens - 1) / writing if tokens > 1 and writing > 0 else None
        old = self._speeds.get(core)
        if old is not None:
            first_seconds = _smoothed(old.first_seconds, first_seconds)
            rate = _smoothed(old.tokens_per_second or rate, rate) if rate else old.tokens_per_second
        self._speeds[core] = Speed(first_seconds=first_seconds, tokens_per_second=rate)

    def known(self) -> Mapping[str, Speed]:
        """Give the speeds by core."""
        return self._speeds


def _smoothed(old: float | None, new: float) -> float:
    return new if old is None else old + _SMOOTHING * (new - old)
