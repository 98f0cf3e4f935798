"""Grants only narrow; tokens cannot be forged, widened or misread."""

import base64
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_mcp.kernel import Agent, Agents, ArgumentRule, Grants, tokens
from aios_mcp.kernel.capabilities import covers, place_of, reaches_of
from aios_mcp.kernel.tokens import Caveats, TokenRefusedError, attenuate, mint, verify
from backends.messages import Place, Reach

KEY = b"k" * 32
PATTERNS = st.sampled_from(["*", "fs.*", "fs.read_*", "web.search", "*.delete", "fs.delete"])
TOOLS = st.sampled_from(["fs.read_file", "fs.write_file", "fs.delete", "web.search", "web.delete"])
NAMESPACES = st.sampled_from(["self", "self/*", "self/a", "shared", "team/*", "team/x"])
TIERS = st.sampled_from(["fast", "balanced", "capable"])
GRANTS = st.builds(
    Grants,
    tools=st.lists(st.lists(PATTERNS, max_size=3).map(tuple), max_size=2).map(tuple),
    deny=st.lists(PATTERNS, max_size=2).map(tuple),
    read=st.lists(NAMESPACES, max_size=3).map(tuple),
    tiers=st.frozensets(TIERS),
    cores=st.frozensets(st.just("core")),
    max_tokens=st.integers(1, 100),
)
CAVEATS = st.fixed_dictionaries(
    {},
    optional={
        "tools": st.lists(PATTERNS, max_size=3),
        "deny": st.lists(PATTERNS, max_size=3),
        "tiers": st.lists(TIERS, max_size=3),
        "read": st.lists(NAMESPACES, max_size=3),
        "max_tokens": st.integers(1, 200),
    },
)


@given(GRANTS, CAVEATS, TOOLS, NAMESPACES)
def test_narrowing_never_permits_what_was_refused(
    grants: Grants, caveats: dict[str, object], tool: str, namespace: str
) -> None:
    narrowed = grants.narrow(**caveats)  # type: ignore[arg-type]
    assert grants.allows_tool(tool) or not narrowed.allows_tool(tool)
    assert grants.may_allow_server("fs") or not narrowed.may_allow_server("fs")
    allowed = any(covers(pattern, namespace) for pattern in grants.read)
    assert allowed or not any(covers(pattern, namespace) for pattern in narrowed.read)
    assert narrowed.tiers <= grants.tiers
    assert narrowed.cores <= grants.cores
    assert narrowed.max_tokens <= grants.max_tokens


@given(GRANTS, TOOLS)
def test_a_server_of_an_allowed_tool_is_always_asked(grants: Grants, tool: str) -> None:
    if grants.allows_tool(tool):
        assert grants.may_allow_server(tool.partition(".")[0])


def test_no_grant_permits_nothing() -> None:
    assert not Grants().allows_tool("fs.read_file")
    assert not Grants().may_allow_server("fs")


@given(st.lists(CAVEATS, max_size=3))
def test_a_token_says_what_it_was_bound_to(blocks: list[dict[str, object]]) -> None:
    token = mint(KEY, "ada", expires=100.0)
    caveats = [Caveats.model_validate(block, strict=False) for block in blocks]
    for each in caveats:
        token = attenuate(token, each)
    capability = verify(token, KEY, now=99.0)
    assert capability.agent == "ada"
    assert list(capability.caveats[1:]) == caveats


@given(st.integers(0, 10_000), st.characters(codec="ascii"))
def test_a_token_with_one_character_changed_is_refused(position: int, character: str) -> None:
    token = attenuate(mint(KEY, "ada", expires=100.0), Caveats(tools=("fs.*",)))
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    if changed != token:
        with pytest.raises(TokenRefusedError):
            verify(changed, KEY, now=0.0)


def test_a_caveat_cannot_be_taken_off() -> None:
    token = attenuate(mint(KEY, "ada", expires=100.0), Caveats(tools=("fs.*",)))
    root, _, mac = token.removeprefix(tokens.PREFIX).split(".")
    with pytest.raises(TokenRefusedError):
        verify(f"{tokens.PREFIX}{root}.{mac}", KEY, now=0.0)


@given(st.text())
def test_any_text_as_a_token_is_refused(text: str) -> None:
    for token in (text, tokens.PREFIX + text):
        with pytest.raises(TokenRefusedError):
            verify(token, KEY, now=0.0)


def test_a_token_ends_at_its_time_also_when_only_a_later_block_says_so() -> None:
    token = attenuate(mint(KEY, "ada", expires=100.0), Caveats(exp=50.0))
    verify(token, KEY, now=49.9)
    with pytest.raises(TokenRefusedError, match="expired"):
        verify(token, KEY, now=50.0)


def test_an_unknown_caveat_refuses_the_token() -> None:
    def base64url(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    *blocks, mac = mint(KEY, "ada", expires=100.0).removeprefix(tokens.PREFIX).split(".")
    block = base64url(b'{"planet":"mars"}')
    chained = hmac.digest(base64.urlsafe_b64decode(mac + "="), block.encode(), "sha256")
    with pytest.raises(TokenRefusedError, match="not understood"):
        verify(tokens.PREFIX + ".".join([*blocks, block, base64url(chained)]), KEY, now=0.0)


def agents(secrets: dict[str, str], now: float = 0.0) -> Agents:
    known = {
        name: Agent(name=name, grants=Grants(tools=(("*",),), tiers=frozenset({"fast"})))
        for name in ("ada", "ben")
    }
    return Agents(known, secrets=secrets, token_key=KEY, now=lambda: now)


def test_a_secret_names_its_agent_and_no_other_text_does() -> None:
    known = agents({"ada": "s3cret-a", "ben": "s3cret-b"})
    found = known.by_token("s3cret-b")
    assert found is not None
    assert found.name == "ben"
    assert known.by_token("s3cret") is None
    assert known.by_token("") is None
    assert known.by_token("\ud800") is None


def test_a_capability_token_gives_its_agent_with_narrowed_grants() -> None:
    found = agents({}).by_token(mint(KEY, "ada", expires=10.0, tools=["fs.*"]))
    assert found is not None
    assert found.name == "ada"
    assert found.grants.allows_tool("fs.read")
    assert not found.grants.allows_tool("web.search")
    assert agents({}, now=10.0).by_token(mint(KEY, "ada", expires=10.0)) is None
    assert agents({}).by_token(mint(KEY, "stranger", expires=10.0)) is None
    assert agents({}).by_token(mint(b"x" * 32, "ada", expires=10.0)) is None


def test_the_kernel_s_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = tokens.load_or_create_key(tmp_path / "new")
    assert tokens.load_or_create_key(tmp_path / "new") == key
    assert (tmp_path / "new" / "token.key").stat().st_mode & 0o077 == 0
    (tmp_path / "new" / "token.key").write_bytes(b"short")
    with pytest.raises(OSError, match="damaged"):
        tokens.load_or_create_key(tmp_path / "new")


@pytest.mark.parametrize(
    ("rule", "arguments", "is_allowed"),
    [
        ({"under": "/data"}, {"p": "/data/x"}, True),
        ({"under": "/data"}, {"p": "/data/../etc/passwd"}, False),
        ({"under": "/data"}, {"p": "data/x"}, False),
        ({"under": "/data"}, {"p": 7}, False),
        ({"under": "/data"}, {}, False),
        ({"eq": 1}, {"p": 1}, True),
        ({"eq": 1}, {"p": True}, False),
        ({"one_of": ("a", "b")}, {"p": "b"}, True),
        ({"one_of": ("a", "b")}, {"p": "c"}, False),
        ({"glob": "*.txt"}, {"p": "a.txt"}, True),
        ({"glob": "*.txt"}, {"p": ["a.txt"]}, False),
        ({"max": 5.0}, {"p": 5}, True),
        ({"max": 5.0}, {"p": 5.1}, False),
        ({"max": 5.0}, {"p": True}, False),
    ],
)
def test_an_argument_rule(
    rule: dict[str, object], arguments: dict[str, object], is_allowed: bool
) -> None:
    assert ArgumentRule(tool="*", path="p", **rule).allows(arguments) == is_allowed  # type: ignore[arg-type]


def test_an_argument_rule_reaches_into_nested_arguments() -> None:
    rule = ArgumentRule(tool="*", path="a.b", eq="x")
    assert rule.allows({"a": {"b": "x"}})
    assert not rule.allows({"a": "x"})


def test_a_link_does_not_lead_out_of_a_directory(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    rule = ArgumentRule(tool="*", path="p", under=str(inside))
    assert rule.allows({"p": str(inside / "file")})
    assert not rule.allows({"p": str(inside / "link" / "file")})


def test_self_is_the_agent_s_own_partition_and_all_else_is_common() -> None:
    assert place_of("ada", "self/work") == Place("ada", "self/work")
    assert place_of("ada", "team/x") == Place("", "team/x")
    assert place_of("ada", "selfish") == Place("", "selfish")
    assert reaches_of("ada", ["shared", "self/*"]) == (
        Reach("ada", ("self/*",)),
        Reach("", ("shared",)),
    )
