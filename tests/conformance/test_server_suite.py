"""The official conformance suite against the real server, on both HTTP parsers."""

import json
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from tests.conformance.programs import run_node, serving, write_config
from tests.marks import asyncio_only

pytestmark = [asyncio_only, pytest.mark.node, pytest.mark.slow]

PACKAGE = "@modelcontextprotocol/conformance"
CHECKS = {"2025-11-25": 84, "2026-07-28": 152}
"""How many checks version 0.2.0-alpha.12 of the suite makes of a server that fails none."""


class Check(NamedTuple):
    scenario: str
    id: str


class Report(NamedTuple):
    passed: int
    failed: dict[Check, str]


def expected_failures() -> set[Check]:
    text = (Path(__file__).parent / "expected_failures.toml").read_text()
    return {Check(each["scenario"], each["check"]) for each in tomllib.loads(text)["expected"]}


def read_report(folder: Path) -> Report:
    passed, failed = 0, dict[Check, str]()
    for path in folder.glob("*/checks.json"):
        scenario = path.parent.name.removeprefix("server-").rpartition("-20")[0]
        checks: list[dict[str, Any]] = json.loads(path.read_text())
        for check in checks:
            passed += check["status"] == "SUCCESS"
            if check["status"] in {"FAILURE", "WARNING"}:
                failed[Check(scenario, check["id"])] = str(check.get("errorMessage"))
    return Report(passed, failed)


@pytest.mark.parametrize("parser", ["httptools", "h11"])
async def test_every_check_of_both_eras_passes(tmp_path: Path, parser: str) -> None:
    async def judge(url: str, version: str) -> None:
        folder = str(tmp_path / version)
        options = ["--suite", "all", "--spec-version", version, "-o", folder]
        await run_node(PACKAGE, ["server", "--url", f"{url}/mcp", *options])

    async with (
        serving(write_config(tmp_path), "--conformance", "--http-parser", parser) as url,
        anyio.create_task_group() as tasks,
    ):
        for version in CHECKS:
            tasks.start_soon(judge, url, version)
    expected = expected_failures()
    reports = {version: read_report(tmp_path / version) for version in CHECKS}
    failed = {check: text for report in reports.values() for check, text in report.failed.items()}
    assert failed.keys() <= expected, failed
    assert expected <= failed.keys(), f"these pass now: {expected - failed.keys()}"
    if not expected:
        assert {version: report.passed for version, report in reports.items()} == CHECKS
