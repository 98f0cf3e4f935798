"""A server in a process of its own: `python -m tests.server_http.program PARSER GRACE_SECONDS`."""

import sys
from typing import cast

import anyio

from aios_mcp.config.model import HttpPart
from aios_mcp.server.http import serve_http
from aios_mcp.server.http.connections import Parser
from tests.server_http.servers import Probe, agents


async def main(parser: Parser, grace_seconds: float) -> None:
    await serve_http(
        Probe().server,
        agents(),
        host="127.0.0.1",
        port=0,
        http=HttpPart(),
        default_agent="ada",
        is_ready=lambda: True,
        on_listening=lambda url: print(url, flush=True),  # noqa: T201
        grace_seconds=grace_seconds,
        parser=parser,
    )


if __name__ == "__main__":
    anyio.run(main, cast("Parser", sys.argv[1]), float(sys.argv[2]))
