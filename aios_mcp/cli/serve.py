"""`aios-mcp serve`: the kernel as an MCP server, over stdio or HTTP."""

import argparse
import signal
import sys
from dataclasses import dataclass
from typing import Literal

import anyio

from aios_mcp.app import open_kernel
from aios_mcp.cli.errors import USAGE, CommandError
from aios_mcp.cli.failures import leaves
from aios_mcp.cli.logs import configure_logging
from aios_mcp.config import ConfigError, LoadedConfig, load_config
from aios_mcp.directories import Directories
from aios_mcp.model_use import hold_models, named_models
from aios_mcp.server.conformance import add_fixtures
from aios_mcp.server.http import serve_http
from aios_mcp.server.server import Surface, build_server
from aios_mcp.server.stdio import serve_stdio


@dataclass(frozen=True, slots=True)
class Address:
    """Where HTTP is served."""

    host: str
    port: int


def run(args: argparse.Namespace) -> int:
    """Serve until the host closes stdin, or a signal."""
    address = None if args.http is None else parse_address(args.http)
    loaded = load_config(args.config)
    configure_logging(loaded.config.kernel.log_level)
    try:
        cache = Directories.of(loaded.config, loaded.base).cache
        models = named_models(loaded.config, cache_dir=cache, base=loaded.base)
        with hold_models(path for path, _ in models):
            anyio.run(_serve, loaded, args.agent, address, args.http_parser, args.conformance)
    except* ConfigError as group:
        problems = [line for exc in leaves(group) for line in str(exc).splitlines()]
        raise ConfigError(*map(loaded.located, problems)) from group
    return 0


def parse_address(text: str) -> Address:
    """Read HOST:PORT; an IPv6 host stands in brackets.

    Raises:
        CommandError: It is not of that form.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    is_port = port.isascii() and port.isdigit() and int(port) <= 65_535
    if not (colon and host and is_port) or (":" in host and not text.startswith("[")):
        raise CommandError(
            f"--http {text}: write HOST:PORT, such as 127.0.0.1:8765 or [::1]:8765",
            exit_code=USAGE,
        )
    return Address(host, int(port))


async def _serve(
    loaded: LoadedConfig,
    agent: str | None,
    address: Address | None,
    parser: Literal["httptools", "h11"],
    conformance: bool,
) -> None:
    config = loaded.config
    async with open_kernel(config, loaded.base) as app:
        default_agent = agent or config.kernel.default_agent
        app.agents.get(default_agent)  # refused here rather than at the first call
        server = build_server(
            Surface(
                kernel=app.kernel,
                agents=app.agents,
                default_agent=default_agent,
                expose=config.kernel.expose,
                exposed={name: part.expose for name, part in config.servers.items()},
            )
        )
        events = add_fixtures(server) if conformance else None
        if address is None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_at_signal, tasks.cancel_scope)
                await serve_stdio(server)
                tasks.cancel_scope.cancel()
            return
        await serve_http(
            server,
            app.agents,
            host=address.host,
            port=address.port,
            http=config.http,
            default_agent=default_agent,
            is_ready=app.is_ready,
            on_listening=_say_where,
            grace_seconds=config.limits.shutdown_seconds,
            parser=parser,
            events=events,
        )


async def _cancel_at_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


def _say_where(url: str) -> None:
    print(f"aios-mcp: serving {url}/mcp and {url}/sse", file=sys.stderr, flush=True)
