#!/bin/sh
# Builds llama-server, the peer of `python -m benchmarks llm`, from the very source and with the very
# flags that llama.cpp has in .venv. Takes about ten minutes of one core; needs scripts/setup.sh first.
#
#   sh scripts/llama_server.sh              into .venv/bin, where the benchmark finds it
#   sh scripts/llama_server.sh DIRECTORY    elsewhere; set LLAMA_SERVER to the file for the benchmark
#
# LLAMA_SDIST=FILE takes a source archive that is here already; JOBS is the number of compilers at once.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
target=${1:-.venv/bin}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The lock's lines of this one package: its version and the hashes it may have.
sed -n '/^llama-cpp-python==/,/^[^ ]/{/^llama-cpp-python==/p;/^ /p;}' requirements/run.lock >"$work/lock"
if [ -n "${LLAMA_SDIST:-}" ]; then
    cp "$LLAMA_SDIST" "$work"
else
    python -m pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --no-binary llama-cpp-python --require-hashes -r "$work/lock" -d "$work"
fi
archive=$(echo "$work"/llama_cpp_python-*.tar.gz)
grep -q "$(sha256sum "$archive" | cut -d ' ' -f 1)" "$work/lock" || {
    echo "the source archive is not the one that requirements/run.lock names" >&2
    exit 1
}
tar -xzf "$archive" -C "$work"

# As in scripts/setup.sh, where the reason stands.
sound=""
if "${CC:-cc}" --version 2>/dev/null | head -n 1 | grep -qiv clang; then
    sound="-fno-dse -fno-tree-dse"
fi
# shellcheck disable=SC2086 - CMAKE_ARGS holds several arguments
cmake -S "$work"/llama_cpp_python-*/vendor/llama.cpp -B "$work/build" -G Ninja \
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF \
    -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DCMAKE_C_FLAGS="$sound" -DCMAKE_CXX_FLAGS="$sound" ${CMAKE_ARGS:-} >"$work/cmake.log" || {
    tail -n 20 "$work/cmake.log" >&2
    exit 1
}
cmake --build "$work/build" --target llama-server -j "${JOBS:-1}" >&2
mkdir -p "$target"
cp "$work/build/bin/llama-server" "$target/llama-server"
echo "$target/llama-server"
