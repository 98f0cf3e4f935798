"""The configuration: one TOML file as frozen models, errors that name file, line, key and fix."""

from aios_mcp.config.errors import ConfigError
from aios_mcp.config.load import LoadedConfig, default_path, load_config
from aios_mcp.config.model import Config
from aios_mcp.config.secret_refs import resolve_secret

__all__ = [
    "Config",
    "ConfigError",
    "LoadedConfig",
    "default_path",
    "load_config",
    "resolve_secret",
]
