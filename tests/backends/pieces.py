"""What a core said, as it came."""

from dataclasses import dataclass, field

import anyio

from backends.messages import Piece


@dataclass(slots=True)
class Pieces:
    """Receives pieces; `first` is set when one has come."""

    all: list[Piece] = field(default_factory=list[Piece])
    first: anyio.Event = field(default_factory=anyio.Event)

    async def emit(self, piece: Piece) -> None:
        self.all.append(piece)
        self.first.set()

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.all)
