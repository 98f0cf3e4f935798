"""The program on its own: what a host sees of a process whose libraries print."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CALLS = 50


def test_a_program_answers_all_and_prints_nothing_else_before_it_ends() -> None:
    """Fifty calls, and stdin closed at once: more than fit in line, and each is answered."""
    lines = [
        json.dumps(
            {
                "jsonrpc": "2.0",
                "id": number,
                "method": "tools/call",
                "params": {
                    "name": "llm_generate",
                    "arguments": {"prompt": "one two", "max_tokens": 2},
                    "_meta": {
                        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                        "io.modelcontextprotocol/clientCapabilities": {},
                    },
                },
            }
        )
        for number in range(CALLS)
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.interaction.program"],
        cwd=ROOT,
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = {each["id"]: each["result"] for each in map(json.loads, done.stdout.splitlines())}
    assert set(answers) == set(range(CALLS))
    codes = [
        result["structuredContent"]["error"]["code"]
        for result in answers.values()
        if result.get("isError")
    ]
    assert set(codes) == {"busy"}
    assert len(codes) < CALLS
    assert done.stderr.count("a stray line") == CALLS - len(codes)
