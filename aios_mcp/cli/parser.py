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


_LOCAL = "http://127.0.0.1:8765/mcp"


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
    _add_memory(commands)
    _add_top(commands)
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
    parser = commands.add_parser("models", help="list, fetch or delete models")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = _add(
        verbs,
        "list",
        "models",
        "list the models on this machine: what to write for them, and what they take",
        "  aios-mcp models list                            memory is that of the default slots",
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
    removal = _add(
        verbs,
        "rm",
        "models",
        "delete a model that was fetched, and say what that frees",
        "  aios-mcp models rm hf:ORG/REPO-GGUF:Q4_K_M      one that the configuration names stays\n"
        "  aios-mcp models rm minilm",
    )
    removal.add_argument("spec", metavar="MODEL", help="as `aios-mcp models list` shows it")
    for verb, name in ((listing, "list"), (pull, "pull"), (removal, "rm")):
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


def _add_top(commands: Commands) -> None:
    parser = _add(
        commands,
        "top",
        "top",
        "show who runs and who waits on a kernel that serves HTTP, live",
        "  aios-mcp top                                the kernel on this machine, until Ctrl-C\n"
        "  aios-mcp top --once --json                  for a program\n"
        "  aios-mcp top --url https://host/mcp --token file:ops.token --every 5\n"
        "\nAn agent sees itself; with observe = true in its configuration, all agents.",
    )
    parser.add_argument(
        "--url", default=_LOCAL, metavar="URL", help=f"where the kernel serves; default {_LOCAL}"
    )
    parser.add_argument(
        "--token", metavar="REF", help="its bearer token, as env:VARIABLE or file:PATH"
    )
    parser.add_argument(
        "--every", type=_seconds, default=2.0, metavar="SECONDS", help="how often; default 2"
    )
    parser.add_argument("--once", action="store_true", help="read once and end")
    parser.add_argument(
        "--json", action="store_true", help="print the queue as JSON, one line each"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: write seconds, from 0.1 to 3600")
    return seconds


def _add_memory(commands: Commands) -> None:
    parser = commands.add_parser("memory", help="fill, list, search, export or import memories")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for add in (_add_documents, _add_export, _add_import, _add_looks):
        add(verbs)


def _add_memory_verb(
    verbs: Commands, name: str, summary: str, examples: str
) -> argparse.ArgumentParser:
    verb = _add(verbs, name, "memory", summary, examples)
    _add_config_option(verb)
    verb.add_argument(
        "--agent", metavar="NAME", help="whose memories; default kernel.default_agent"
    )
    verb.add_argument("--namespace", metavar="NS", help="such as self/notes or shared")
    verb.set_defaults(verb=name)
    return verb


def _add_documents(verbs: Commands) -> None:
    verb = _add_memory_verb(
        verbs,
        "add-documents",
        "store text, Markdown and code as memories; again for what changed",
        "  aios-mcp memory add-documents docs README.md\n"
        "  aios-mcp memory add-documents src --namespace shared --tag code --prune\n"
        "\nHidden files, binaries, links and node_modules are left out. The next run takes up one\n"
        "that was interrupted.",
    )
    verb.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or directories")
    verb.add_argument("--kind", default="document", help="kind of the memories; default document")
    verb.add_argument("--tag", action="append", default=[], help="tag of the memories; repeatable")
    verb.add_argument(
        "--max-tokens",
        type=_chunk_tokens,
        default=256,
        metavar="N",
        help="largest memory, 16 to 8192; default 256",
    )
    verb.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="such as '*.lock'"
    )
    verb.add_argument(
        "--prune", action="store_true", help="forget documents of these paths that are gone"
    )


def _chunk_tokens(text: str) -> int:
    value = int(text)
    if not 16 <= value <= 8192:
        raise argparse.ArgumentTypeError(f"{text}: write a number from 16 to 8192")
    return value


def _add_export(verbs: Commands) -> None:
    _add_memory_verb(
        verbs,
        "export",
        "print memories as JSON Lines, older versions and links included",
        "  aios-mcp memory export > memories.jsonl",
    )


def _add_import(verbs: Commands) -> None:
    verb = _add_memory_verb(
        verbs,
        "import",
        "add the memories of a file; twice is as good as once",
        "  aios-mcp memory import memories.jsonl\n"
        "  aios-mcp memory import memory.json --from mcp-memory --namespace shared\n"
        "\nWhat cannot be read is named by its line, and the rest is imported.",
    )
    verb.add_argument("file", metavar="FILE", help="- reads standard input")
    verb.add_argument(
        "--from",
        dest="format",
        choices=("auto", "aios", "mem0", "mcp-memory"),
        default="auto",
        help="who wrote it; default auto",
    )


def _add_looks(verbs: Commands) -> None:
    _add_memory_verb(verbs, "list", "list memories", "  aios-mcp memory list")
    _add_memory_verb(verbs, "count", "count memories by kind", "  aios-mcp memory count")
    search = _add_memory_verb(
        verbs,
        "search",
        "find memories as an agent would",
        "  aios-mcp memory search when do backups run",
    )
    search.add_argument("query", nargs="+", metavar="WORD")
    search.add_argument("-k", dest="most", type=int, default=10, help="most to show; default 10")
    forget = _add_memory_verb(
        verbs,
        "forget",
        "forget memories by id, or by kind, tags and session; this cannot be undone",
        "  aios-mcp memory forget ID ID --reason wrong\n"
        "  aios-mcp memory forget --kind document --tag draft\n"
        "  aios-mcp memory forget --session standup      what was said in it, too",
    )
    forget.add_argument("ids", nargs="*", metavar="ID")
    forget.add_argument("--tag", action="append", default=[])
    forget.add_argument("--session", default="")
    forget.add_argument("--reason", default="", help="kept on record")
    for verb in (search, forget):
        verb.add_argument("--kind", action="append", default=[])


def _add_demo(commands: Commands) -> None:
    _add(
        commands,
        "demo",
        "demo",
        "take a guided tour: a real client, a real server, a real model",
        "  aios-mcp demo                               leaves nothing behind",
    )
