from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_mcp.documents.chunks import BYTES_PER_TOKEN, cut

GUIDE = dedent(
    """\
    ---
    title: a guide
    ---
    Read this first.

    # Install

    Nothing to do here.

    ## Linux

    ```sh
    # not a heading
    make
    ```

    ## macOS

    Brew it.

    Run
    ===

    It runs.
    """
)

PROGRAM = dedent(
    """\
    import os

    LIMIT = 3


    # Says hello,
    # politely.
    @cached
    def hello(name):
        def inner():
            pass
        return inner


    class Greeter:
        pass
    """
)


def titles(text: str, suffix: str, max_tokens: int = 256) -> list[tuple[str, int, int]]:
    chunks = cut(text, suffix=suffix, max_tokens=max_tokens)
    return [(chunk.title, chunk.first_line, chunk.last_line) for chunk in chunks]


def test_markdown_is_cut_at_headings_and_keeps_their_path() -> None:
    assert titles(GUIDE, ".md") == [
        ("", 1, 4),
        ("Install", 6, 8),
        ("Install > Linux", 10, 15),
        ("Install > macOS", 17, 19),
        ("Run", 21, 24),
    ]


def test_python_is_cut_at_definitions_with_what_stands_above_them() -> None:
    assert titles(PROGRAM, ".py") == [("", 1, 3), ("hello", 6, 12), ("Greeter", 15, 16)]


@pytest.mark.parametrize(
    ("suffix", "line", "name"),
    [
        (".py", "async def fetch(url):", "fetch"),
        (".ts", "export default async function load() {", "load"),
        (".ts", "export const add = (a: number, b: number): number => {", "add"),
        (".tsx", "export interface Props {", "Props"),
        (".js", "const once = async x => {", "once"),
        (".go", "func (s *Server) Serve() error {", "Serve"),
        (".go", "type Server struct {", "Server"),
        (".rs", "pub(crate) async fn run() {", "run"),
        (".rs", "impl<T> Stack<T> {", "Stack"),
        (".java", "public final class Main {", "Main"),
        (".kt", "data class Point(val x: Int)", "Point"),
        (".cs", "public sealed record Order(int Id);", "Order"),
        (".swift", "public func greet() {", "greet"),
        (".c", "static int add(int a, int b)", "add"),
        (".cpp", "std::string Name::of(int id) {", "Name::of"),
        (".h", "struct point {", "point"),
        (".rb", "class Api::Client", "Api::Client"),
        (".php", "final class Shop {", "Shop"),
        (".sh", "deploy() {", "deploy"),
        (".lua", "local function sum(a, b)", "sum"),
        (".sql", "CREATE TABLE IF NOT EXISTS orders (", "orders"),
    ],
)
def test_definitions_of_many_languages_are_known(suffix: str, line: str, name: str) -> None:
    assert titles(f"first = 1\n\n{line}\n    body\n", suffix)[1:] == [(name, 3, 4)]


@pytest.mark.parametrize(
    ("suffix", "line"),
    [(".c", "    return call(a);"), (".c", "int add(int, int);"), (".py", "    def inner():")],
)
def test_what_only_looks_like_a_definition_is_none(suffix: str, line: str) -> None:
    assert titles(f"first = 1\n{line}\n", suffix) == [("", 1, 2)]


def test_long_text_is_cut_at_blank_lines() -> None:
    paragraphs = ["a line of forty characters, more or less"] * 3
    assert titles("\n\n".join(paragraphs), ".txt", max_tokens=24) == [("", 1, 3), ("", 5, 5)]


def test_line_ends_of_every_kind_are_counted() -> None:
    assert titles("one\r\n\r\n# two\rthree\n", ".md") == [("", 1, 1), ("two", 3, 4)]


def test_nothing_gives_no_chunk() -> None:
    assert cut(" \n\n\t\n", suffix=".md", max_tokens=16) == []
    assert cut("", suffix=".py", max_tokens=16) == []


LINES = st.lists(
    st.sampled_from(["", "# a", "## b", "def f():", "    x = 1", "===", "```", "é" * 70, "w " * 60])
    | st.text(max_size=90),
    max_size=30,
)


@given(LINES, st.sampled_from([".md", ".py", ".txt", ".go", ".c"]), st.integers(16, 64))
def test_chunks_fit_and_together_hold_every_word_once(
    lines: list[str], suffix: str, max_tokens: int
) -> None:
    text = "\n".join(lines)
    chunks = cut(text, suffix=suffix, max_tokens=max_tokens)
    assert all(len(chunk.text.encode()) <= max_tokens * BYTES_PER_TOKEN for chunk in chunks)
    assert "".join("".join(chunk.text for chunk in chunks).split()) == "".join(text.split())
    ends = [(chunk.first_line, chunk.last_line) for chunk in chunks]
    assert ends == sorted(ends)
    assert all(1 <= first <= last for first, last in ends)
