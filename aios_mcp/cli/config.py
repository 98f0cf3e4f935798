"""`aios-mcp config`: what is wrong with the configuration, and what holds."""

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from typing import cast

from aios_mcp.cli.references import missing_references
from aios_mcp.config import ConfigError, LoadedConfig, load_config
from aios_mcp.config.lines import Key, entries

_COMMENT_COLUMN = 56
_INLINE = {"env", "headers", "price"}
_REDACTED = "***"
_USER_AND_QUERY = re.compile(r"(?<=//)[^/@\s]*(?=@)|(?<=\?).*")
_NAMED_SECRET = re.compile(r"(?i)(?<=key[=:])\S+|(?<=token[=:])\S+|(?<=secret[=:])\S+")


def run(args: argparse.Namespace) -> int:
    """Check the configuration, or show it."""
    loaded = load_config(args.config)
    if args.verb == "show":
        print("\n".join(settings_of(loaded)))
        return 0
    if missing := missing_references(loaded):
        raise ConfigError(*missing)
    print(f"sound: {loaded.path or 'no file, so all defaults hold'}")
    return 0


def settings_of(loaded: LoadedConfig) -> Iterator[str]:
    """Write every setting as TOML with the place it comes from, secrets redacted."""
    yield f"# {loaded.path or 'no file: all defaults'}"
    yield from _table(loaded, (), loaded.config.model_dump(exclude_none=True))


def _table(loaded: LoadedConfig, key: Key, values: object) -> Iterator[str]:
    inside = [((*key, name), value) for name, value in entries(values)]
    tables = [pair for pair in inside if _is_table(*pair)]
    if key and len(tables) < max(1, len(inside)):
        yield f"\n[{'.'.join(_name(part) for part in key)}]"
    for path, value in inside:
        if (path, value) not in tables:
            setting = f"{_name(path[-1])} = {_written(path, value)}"
            yield f"{setting:<{_COMMENT_COLUMN}}  # {_source(loaded, path)}"
    for path, value in tables:
        yield from _table(loaded, path, value)


def _is_table(key: Key, value: object) -> bool:
    return isinstance(value, dict) and key[-1] not in _INLINE


def _source(loaded: LoadedConfig, key: Key) -> str:
    line = loaded.lines.get(key)
    return "default" if line is None else f"line {line}"


def _name(part: str | int) -> str:
    text = str(part)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else json.dumps(text)


def _written(key: Key, value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(_shown(key, value), ensure_ascii=False).replace("\x7f", "\\u007f")
        case tuple():
            return (
                f"[{', '.join(_written(key, each) for _, each in entries(cast('object', value)))}]"
            )
        case Mapping():
            pairs = entries(dict(cast("Mapping[str, object]", value)))
            inside = (f"{_name(name)} = {_written((*key, name), each)}" for name, each in pairs)
            return f"{{ {', '.join(inside)} }}" if pairs else "{}"
        case _:
            return str(value)


def _shown(key: Key, text: str) -> str:
    """Take out what may be a secret; references to secrets are none."""
    if "env" in key or "headers" in key:
        return text if text.startswith(("env:", "file:")) else _REDACTED
    if key[-1] in {"url", "base_url"}:
        return _USER_AND_QUERY.sub(_REDACTED, text)
    return _NAMED_SECRET.sub(_REDACTED, text) if key[-1] == "command" else text
