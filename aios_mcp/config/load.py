"""Finds the configuration file, reads it, and says all that is wrong with it at once."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import platformdirs
from pydantic import ValidationError

from aios_mcp.config.errors import ConfigError
from aios_mcp.config.lines import Key, entries, find_lines
from aios_mcp.config.model import Config
from aios_mcp.config.problems import dotted, explain, line_of

_MAX_BYTES = 1024 * 1024
_PLACE = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)$")
_HINTS = (
    ("Invalid value", "text needs quotes, true and false are written small"),
    ("Cannot overwrite a value", "the key stands there twice; remove one"),
    ("Cannot declare", "the table stands there twice; merge the two"),
    ("Expected '='", "write key = value, or [table] on a line of its own"),
    ("Unescaped '\\'", "write \\\\ for a backslash, or use 'single quotes'"),
    ("Illegal character '\\n'", "close the quotes on the same line"),
    ("Expected newline", "one key = value to a line, text in quotes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """A configuration and where it came from.

    Attributes:
        config: What it says.
        base: Directory that its relative paths start from.
        path: The file; None means that there is none and all defaults hold.
        lines: Lines of the keys that the file sets.
    """

    config: Config
    base: Path
    path: Path | None = None
    lines: Mapping[Key, int] = field(default_factory=dict[Key, int])

    def located(self, problem: str) -> str:
        """Put file and line in front of a problem whose text begins with a key of the file."""
        lines = {dotted(key): line for key, line in self.lines.items()}
        key = problem.partition(": ")[0]
        while key and key not in lines:
            key = key.rpartition(".")[0]
        return f"{self.path}:{lines[key]}: {problem}" if key else problem


def default_path() -> Path:
    """Give the place of the user's own configuration file, whether it is there or not."""
    return Path(platformdirs.user_config_dir("aios-mcp", appauthor=False)) / "aios.toml"


def load_config(path: Path | None = None) -> LoadedConfig:
    """Load `path`, or else what AIOS_CONFIG names, or the user's own file, or the defaults.

    Raises:
        ConfigError: The file cannot be used; it names every problem at once.
    """
    named = path or (Path(given) if (given := os.environ.get("AIOS_CONFIG")) else None)
    if named is None:
        own = default_path()
        if not own.exists():
            return LoadedConfig(config=Config(), base=Path.cwd())
        named = own
    return _load(Path(os.path.expanduser(named)))


def _load(path: Path) -> LoadedConfig:
    text = _read(path)
    try:
        values = tomllib.loads(text)
        lines = find_lines(text)
        settings = {key: _frozen(value) for key, value in values.items()}
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(_syntax_problem(str(exc), text, path)) from exc
    except RecursionError as exc:
        raise ConfigError(f"{path}: arrays or tables are nested too deeply") from exc
    odd = tuple(
        f"{path}:{line_of(key, lines)}: {dotted(key)}: holds the character NUL; remove it"
        for key in _with_nul(settings, ())
    )
    try:
        config = Config.model_validate(settings)
    except ValidationError as exc:
        raise ConfigError(*odd, *explain(exc, settings, lines, str(path))) from exc
    if odd:
        raise ConfigError(*odd)
    return LoadedConfig(config=config, base=path.parent.absolute(), path=path, lines=lines)


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise ConfigError(
                f"{path}: {what}; `aios-mcp init` writes a configuration to start from"
            )
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror})") from exc
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {_MAX_BYTES} bytes, so it is no configuration")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text; save the file as UTF-8") from exc


def _syntax_problem(message: str, text: str, path: Path) -> str:
    place = _PLACE.search(message)
    line = int(place[1]) if place and place[1] else max(1, len(text.splitlines()))
    reason = _PLACE.sub("", message).strip()
    # An unclosed quote is reported at the line's end, a wrong key on the next line: both by number.
    written = text.splitlines()[line - 1 : line]
    key = re.match(r"\s*([A-Za-z0-9_.-]+)\s*=", written[0]) if written else None
    hint = next((hint for start, hint in _HINTS if reason.startswith(start)), "")
    return f"{path}:{line}: {key[1] + ': ' if key else ''}not valid TOML: {reason}" + (
        f"; {hint}" if hint else ""
    )


def _frozen(value: object) -> object:
    """Make arrays tuples, as the models have them."""
    if isinstance(value, list):
        return tuple(_frozen(each) for _, each in entries(cast("object", value)))
    if isinstance(value, dict):
        return {key: _frozen(each) for key, each in entries(cast("object", value))}
    return value


def _with_nul(value: object, key: Key) -> Iterator[Key]:
    if isinstance(value, str) and "\0" in value:
        yield key
    for part, each in entries(value):
        yield from _with_nul(each, (*key, part))
