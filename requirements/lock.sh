#!/bin/sh
# Renews the lock files from pyproject.toml. Needs uv; installing from them needs only pip.
set -eu
cd "$(dirname "$0")/.."
lock() {
    out=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-annotate --custom-compile-command "sh requirements/lock.sh" "$@" --output-file "requirements/$out"
}
lock run.lock pyproject.toml
lock dev.lock pyproject.toml --group dev
lock build.lock --group build
lock weights.lock --group weights --no-deps
