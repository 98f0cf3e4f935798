"""The top-level definitions of source code, found by how their first lines look.

That is not parsing: a line within a text literal may be taken for a definition, and then a chunk
begins there. Nothing is lost by it.
"""

import re
from collections.abc import Iterator, Sequence

_NAME = r"(?P<name>[\w$]+)"
_WORDS = (
    r"(?:(?:public|private|protected|internal|static|final|abstract|sealed|open|data|partial|async"
    r"|override|virtual|inline|case|implicit|fileprivate|unsafe|readonly)\s+)*"
)
_PYTHON = re.compile(rf"(?:async\s+)?(?:def|class)\s+{_NAME}")
_SCRIPT = re.compile(
    r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:"
    rf"(?:async\s+)?(?:function\s*\*?|class|interface|enum|namespace|type)\s+{_NAME}"
    r"|(?:const|let|var)\s+(?P<held>[\w$]+)[^=]*=\s*(?:async\b\s*)?(?:function\b|\(|[\w$]+\s*=>))"
)
_GO = re.compile(rf"(?:func|type)\s+(?:\([^)]*\)\s*)?{_NAME}")
_RUST = re.compile(
    r"(?:pub(?:\([^)]*\))?\s+)?(?:(?:unsafe|async|const|extern(?:\s+\"[^\"]*\")?)\s+)*"
    rf"(?:fn|struct|enum|trait|union|mod|impl(?:<[^>]*>)?|macro_rules!)\s+{_NAME}"
)
_CURLY = re.compile(
    _WORDS + r"(?:class|interface|enum|record|struct|object|trait|protocol|extension|actor|fun|func"
    rf"|def|namespace)\s+{_NAME}"
)
_C = re.compile(
    rf"(?:(?:typedef\s+)?(?:class|struct|enum|union|namespace)\s+{_NAME}(?!.*;\s*$)"
    r"|[A-Za-z_][\w\s*&:<>,~]*?[\s*&](?P<held>[\w:~]+)\s*\([^;]*$)"
)
_RUBY = re.compile(r"(?:def|class|module)\s+(?P<name>[\w.:?!]+)")
_PHP = re.compile(rf"{_WORDS}(?:function|class|interface|trait|enum)\s+{_NAME}")
_SHELL = re.compile(r"(?:function\s+(?P<name>[\w-]+)|(?P<held>[\w-]+)\s*\(\s*\))")
_LUA = re.compile(r"(?:local\s+)?function\s+(?P<name>[\w.:]+)")
_SQL = re.compile(
    r"create\s+(?:or\s+replace\s+)?(?:\w+\s+){1,3}?(?:if\s+not\s+exists\s+)?(?P<name>[\w.\"]+)",
    re.IGNORECASE,
)

_LANGUAGES = (
    (_PYTHON, ".py .pyi .pyx"),
    (_SCRIPT, ".js .jsx .mjs .cjs .ts .tsx .mts .cts .vue .svelte"),
    (_GO, ".go"),
    (_RUST, ".rs"),
    (_CURLY, ".java .kt .kts .cs .scala .swift .groovy .dart"),
    (_C, ".c .h .cc .cpp .cxx .hh .hpp .hxx .m .mm .cu .ino"),
    (_RUBY, ".rb"),
    (_PHP, ".php"),
    (_SHELL, ".sh .bash .zsh"),
    (_LUA, ".lua"),
    (_SQL, ".sql"),
)
_BY_SUFFIX = {suffix: pattern for pattern, names in _LANGUAGES for suffix in names.split()}

# What stands right above a definition and belongs to it: comments, decorators, attributes.
_LEADING = re.compile(r"@|#|//|/\*| ?\*|--|template\b|export\s+default\s*$")


def find_definitions(lines: Sequence[str], suffix: str) -> Iterator[tuple[int, str]]:
    """Give the first line of each top-level definition, from 0, and its name."""
    pattern = _BY_SUFFIX.get(suffix)
    if pattern is None:
        return
    begin = 0
    for number, line in enumerate(lines):
        found = pattern.match(line)
        if found is None:
            continue
        first = number
        while first > begin and _LEADING.match(lines[first - 1]):
            first -= 1
        names = found.groupdict()
        yield first, names.get("name") or names.get("held") or ""
        begin = number + 1
