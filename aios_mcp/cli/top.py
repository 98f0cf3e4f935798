"""`aios-mcp top`: agents, cores and calls of a running kernel, live, over HTTP."""

import argparse
import json
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import TextResourceContents
from pydantic import TypeAdapter

from aios_mcp.cli.errors import CommandError
from aios_mcp.cli.failures import leaves
from aios_mcp.cli.ink import Ink
from aios_mcp.cli.top_table import lay_out
from aios_mcp.config import resolve_secret
from aios_mcp.kernel.queue import QueueReport

_QUEUE = "aios://queue"
_ANSWER_SECONDS = 10.0
_REPORT = TypeAdapter(QueueReport)
_HOME, _TO_LINE_END, _TO_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"


def run(args: argparse.Namespace) -> int:
    """Show the queue once, or again and again until Ctrl-C."""
    token = None if args.token is None else resolve_secret(args.token, Path.cwd())
    try:
        anyio.run(_run, args, token)
    except* (MCPError, httpx2.HTTPError, TimeoutError) as group:
        reasons = {str(exc) or type(exc).__name__ for exc in leaves(group)}
        raise CommandError(_explained(args.url, "; ".join(sorted(reasons)))) from group
    return 0


async def _run(args: argparse.Namespace, token: str | None) -> None:
    async with _connected(args.url, token) as client:
        while True:
            text = await _read(client)
            if args.json:
                print(json.dumps(json.loads(text)), flush=True)
            else:
                _show(args.url, _REPORT.validate_json(text), once=args.once)
            if args.once:
                return
            await anyio.sleep(args.every)


@asynccontextmanager
async def _connected(url: str, token: str | None) -> AsyncGenerator[Client]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


async def _read(client: Client) -> str:
    with anyio.fail_after(_ANSWER_SECONDS):
        [contents] = (await client.read_resource(_QUEUE)).contents
    assert isinstance(contents, TextResourceContents)
    return contents.text


def _show(url: str, report: QueueReport, *, once: bool) -> None:
    is_live = sys.stdout.isatty() and not once
    size = shutil.get_terminal_size((120, 40))
    lines = lay_out(
        url,
        report,
        Ink(sys.stdout),
        width=size.columns,
        height=size.lines - 1 if is_live else None,
    )
    if is_live:  # drawn over the last frame, so that nothing flickers
        text = "".join(f"{line}{_TO_LINE_END}\n" for line in lines)
        sys.stdout.write(f"{_HOME}{text}{_TO_SCREEN_END}")
    else:
        sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _explained(url: str, reason: str) -> str:
    return (
        f"top: {url} does not answer as a kernel does ({reason}); it serves with `aios-mcp serve"
        " --http`, and where agents have tokens, --token env:VARIABLE or file:PATH says which"
    )
