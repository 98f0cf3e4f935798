"""A stdio server that breaks every rule on demand: `hostile_server.py [MODE]`.

The mode says what goes wrong before a session stands, the name of the called tool what goes wrong
then. Whatever is not asked to fail works, so that each test sees one failure.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

MODE = sys.argv[1] if len(sys.argv) > 1 else "sound"
cancelled: list[int] = []
withdrawn: set[str] = set()


def write(content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(1, view) :]


def send(**message: Any) -> None:
    write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def answer(id_: Any, result: Any) -> None:
    send(id=id_, result=result)


def text(content: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": content}], **more}


RICH = {
    "content": [
        {"type": "text", "text": "t", "annotations": {"audience": ["user"]}, "_meta": {"a": 1}},
        {"type": "image", "data": "aGk=", "mimeType": "image/png", "newField": {"x": None}},
        {"type": "audio", "data": "aGk=", "mimeType": "audio/wav"},
        {"type": "resource_link", "uri": "file:///x", "name": "x", "icons": [{"src": "https://x"}]},
        {
            "type": "resource",
            "resource": {"uri": "file:///y", "text": "y", "mimeType": "text/plain"},
        },
        {"type": "hologram", "wholly": "unknown"},
    ],
    "structuredContent": {"n": 1, "list": [1.5, "a", None, True]},
    "isError": False,
}


TOOLS: dict[str, Callable[[int, dict[str, Any]], None]] = {}


def published(run: Callable[[int, dict[str, Any]], None]) -> None:
    TOOLS[run.__name__] = run


def head(id_: int) -> bytes:
    return f'{{"jsonrpc":"2.0","id":{id_},"result":'.encode()


@published
def echo(id_: int, arguments: dict[str, Any]) -> None:
    answer(id_, text(arguments["text"]))


@published
def rich(id_: int, _: dict[str, Any]) -> None:
    answer(id_, RICH)


@published
def bad_utf8(id_: int, _: dict[str, Any]) -> None:
    write(head(id_) + b'{"content":[{"type":"text","text":"a\xff\xfeb"}]}}\n')


@published
def surrogate(id_: int, _: dict[str, Any]) -> None:
    write(head(id_) + b'{"content":[{"type":"text","text":"a\\ud800b","\\udfff":1}]}}\n')


@published
def deep(id_: int, _: dict[str, Any]) -> None:
    write(head(id_) + b'{"content":' + b"[" * 100_000 + b"]" * 100_000 + b"}}\n")


@published
def nested(id_: int, _: dict[str, Any]) -> None:
    write(head(id_) + b'{"content":' + b"[" * 500 + b"]" * 500 + b"}}\n")


@published
def nan(id_: int, _: dict[str, Any]) -> None:
    write(head(id_) + b'{"content":[],"structuredContent":NaN}}\n')


@published
def huge(id_: int, arguments: dict[str, Any]) -> None:
    write(head(id_) + b'{"content":[{"type":"text","text":"')
    write(b"x" * arguments["size"] + b'"}]}}\n')


@published
def huge_id_last(id_: int, arguments: dict[str, Any]) -> None:
    write(b'{"result":{"content":[{"type":"text","text":"' + b"x" * arguments["size"])
    write(f'"}}]}},"jsonrpc":"2.0","id":{id_}}}\n'.encode())


@published
def huge_notification(id_: int, arguments: dict[str, Any]) -> None:
    write(b'{"jsonrpc":"2.0","method":"notifications/message","params":"')
    write(b"x" * arguments["size"] + b'"}\n')
    answer(id_, text("after"))


@published
def endless(id_: int, _: dict[str, Any]) -> None:
    write(head(id_))
    while True:
        write(b"x" * 65536)


@published
def unknown_ids(id_: int, _: dict[str, Any]) -> None:
    for other in (id_ + 1000, "x", None, True, [1], 1e300):
        if other is not None:
            answer(other, text("wrong"))
        send(method="notifications/progress", params={"progressToken": other, "progress": 1})
    answer(id_, text("right"))


@published
def duplicate(id_: int, _: dict[str, Any]) -> None:
    answer(id_, text("first"))
    answer(id_, text("second"))


@published
def garbage(id_: int, _: dict[str, Any]) -> None:
    write(b'\x00\x01\n\n{"jsonrpc":"2.0"}\n[]\n{"a":\n"str"\nnull\n' + b"\xff" * 100 + b"\n")
    answer(id_, text("clean"))


@published
def batch(id_: int, _: dict[str, Any]) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/message"}
    reply = {"jsonrpc": "2.0", "id": id_, "result": text("two")}
    write(json.dumps([note, reply]).encode() + b"\n")


@published
def flood(id_: int, _: dict[str, Any]) -> None:
    sys.stderr.write("noise \x1b[31m " * 400_000)
    answer(id_, text("quiet"))


@published
def babbles(id_: int, _: dict[str, Any]) -> None:
    """Writes garbage for ever, in whole pages, so that other writes stay whole too."""

    def babble() -> None:
        while True:
            os.write(1, b"\n{}\n[" * 585 + b"\n")

    answer(id_, text("on and on"))
    threading.Thread(target=babble, daemon=True).start()


@published
def asks(id_: int, _: dict[str, Any]) -> None:
    send(id="q", method="sampling/createMessage", params={"messages": []})
    refusal = json.loads(sys.stdin.readline())
    send(id=7, method="ping")
    answer(id_, text(json.dumps([refusal, json.loads(sys.stdin.readline())])))


@published
def environment(id_: int, _: dict[str, Any]) -> None:
    answer(id_, text(json.dumps(dict(os.environ))))


@published
def orphan(id_: int, _: dict[str, Any]) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    answer(id_, text(str(sleeper.pid)))


@published
def pid(id_: int, _: dict[str, Any]) -> None:
    answer(id_, text(str(os.getpid())))


@published
def not_a_result(id_: int, _: dict[str, Any]) -> None:
    answer(id_, {"content": ["text", 1]})


@published
def null_error(_: int, __: dict[str, Any]) -> None:
    write(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}\n')


@published
def dies(_: int, __: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@published
def deaf(_: int, __: dict[str, Any]) -> None:
    time.sleep(600)


@published
def silent(_: int, __: dict[str, Any]) -> None:
    """Never answers, but goes on reading."""


@published
def crowded(id_: int, _: dict[str, Any]) -> None:
    for step in range(10_000):
        send(method="notifications/progress", params={"progressToken": id_, "progress": step})
    answer(id_, text("done"))


@published
def refuses(id_: int, _: dict[str, Any]) -> None:
    send(id=id_, error={"code": -32602, "message": "path must be absolute"})


@published
def gone(id_: int, _: dict[str, Any]) -> None:
    withdrawn.add("gone")
    send(id=id_, error={"code": -32602, "message": "Tool gone not found"})


@published
def says_gone(id_: int, _: dict[str, Any]) -> None:
    withdrawn.add("says_gone")
    answer(id_, text("Unknown tool: says_gone", isError=True))


@published
def wants_input(id_: int, _: dict[str, Any]) -> None:
    answer(id_, {"resultType": "input_required", "inputRequests": {}})


@published
def cancellations(id_: int, _: dict[str, Any]) -> None:
    answer(id_, text(json.dumps(cancelled)))


def listed(params: dict[str, Any]) -> dict[str, Any]:
    names = [name for name in (*TOOLS, "legacy_task") if name not in withdrawn]
    half = len(names) // 2
    if "cursor" in params:
        return {"tools": [*map(tool, names[half:]), 17, {"name": ""}, {}]}
    return {"tools": [tool(name) for name in names[:half]], "nextCursor": "2"}


def tool(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": name, "inputSchema": {"type": "object", "x-kept": [1]}}
    if name == "legacy_task":
        spec["execution"] = {"taskSupport": "required"}
    if name == "rich":
        spec |= {
            "title": "Rich",
            "description": "Everything there is.",
            "outputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": True, "custom": 1},
        }
    return spec


def handle(message: dict[str, Any]) -> None:
    method: str | None = message.get("method")
    id_: Any = message.get("id")
    params: dict[str, Any] = message.get("params", {})
    if method == "initialize":
        version = "1999-01-01" if MODE == "ancient" else params["protocolVersion"]
        info = {"name": "hostile", "version": "0"}
        capabilities: dict[str, Any] = {"tools": {}}
        answer(id_, {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info})
    elif method == "server/discover" and MODE == "dies_of_discover":
        sys.exit(9)
    elif method == "server/discover" and MODE == "ignores_discover":
        return
    elif method == "tools/list":
        answer(id_, listed(params))
    elif method == "tools/call":
        TOOLS[params["name"]](id_, params["arguments"])
    elif method == "notifications/cancelled":
        cancelled.append(params["requestId"])
    elif method == "ping":
        answer(id_, {})
    elif id_ is not None and method is not None:
        send(id=id_, error={"code": -32601, "message": "Method not found"})


def main() -> None:
    if MODE == "exits":
        sys.stderr.write(f"cannot open database: password={os.environ.get('SECRET')}\x1b[2J\n")
        sys.exit(7)
    if MODE == "mute":
        time.sleep(600)
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        handle(json.loads(line))
    if MODE == "stubborn":
        time.sleep(600)


if __name__ == "__main__":
    main()
