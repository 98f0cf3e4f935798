#!/bin/sh
# Every check the project has: style, layers, types, tests with coverage. `lint` stops before tests.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH
ruff format --check .
ruff check .
lint-imports --no-cache
mypy
tests/node/pyright
[ "${1:-}" != lint ] || exit 0
coverage run -m pytest -q
coverage report --fail-under=95
