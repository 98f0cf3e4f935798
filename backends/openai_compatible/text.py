"""Text that every encoder and terminal can take."""

from backends.text import well_formed

_HIGH = ("\ud800", "\udbff")
_CONTROLS = {
    code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"
}


class Cleaner:
    """Makes the pieces of a text well-formed, also where a surrogate pair is cut in two."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, text: str) -> str:
        """Clean the next part; a high surrogate at its end waits for its other half."""
        text = self._held + text
        self._held = text[-1:] if _HIGH[0] <= text[-1:] <= _HIGH[1] else ""
        return well_formed(text[: len(text) - len(self._held)]).translate(_CONTROLS)

    def finish(self) -> str:
        """Give what was held back."""
        held, self._held = self._held, ""
        return well_formed(held)
