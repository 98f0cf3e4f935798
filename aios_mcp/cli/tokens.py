"""`aios-mcp token`: bearer tokens for agents."""

import argparse
import re
import sys
from datetime import UTC, datetime, timedelta

from aios_mcp.cli.errors import USAGE, CommandError
from aios_mcp.config import load_config
from aios_mcp.directories import Directories
from aios_mcp.kernel.tokens import load_or_create_key, mint

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=3650)


def run(args: argparse.Namespace) -> int:
    """Print a token on stdout, and what it is on stderr."""
    loaded = load_config(args.config)
    if args.agent not in loaded.config.agents:
        known = ", ".join(sorted(loaded.config.agents))
        raise CommandError(
            f"--agent {args.agent}: no such agent in the configuration; there are: {known}",
            exit_code=USAGE,
        )
    expires = datetime.now(UTC) + parse_ttl(args.ttl)
    key = load_or_create_key(Directories.of(loaded.config, loaded.base).data)
    print(mint(key, args.agent, expires=expires.timestamp(), tools=args.tools))
    print(
        f"for agent {args.agent}, until {expires:%Y-%m-%d %H:%M} UTC; send it as: Authorization:"
        " Bearer TOKEN",
        file=sys.stderr,
    )
    return 0


def parse_ttl(text: str) -> timedelta:
    """Read a time such as 90s, 30m, 8h or 7d.

    Raises:
        CommandError: It is not of that form, zero, or above ten years.
    """
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    ttl = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta(0)
    if not timedelta(0) < ttl <= _LONGEST:
        raise CommandError(
            f"--ttl {text}: write a number and s, m, h or d, at most 3650d, such as 8h",
            exit_code=USAGE,
        )
    return ttl
