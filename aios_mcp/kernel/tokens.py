"""Capability tokens: a chain of caveats under one HMAC, which any holder can narrow offline.

    aios1.<block>.<block>...<mac>      blocks are base64url JSON, the first one names the agent

The first MAC is keyed with the kernel's key, each next one with the MAC before it, so that a
holder can append a block but neither change nor remove one. Birgisson and others, "Macaroons:
Cookies with Contextual Caveats for Decentralized Authorization in the Cloud", 2014, without
third-party caveats: the kernel is the only verifier.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

PREFIX = "aios1."
_MAX_BYTES = 8192
_MAX_BLOCKS = 16


class TokenRefusedError(Exception):
    """The token is not one of this kernel's, was changed, has expired, or cannot be understood."""


class Caveats(BaseModel):
    """Restrictions of one block; all blocks hold together. An unknown caveat refuses the token.

    Attributes:
        exp: Unix seconds at which the token ends.
        tools: Patterns of tools; a tool must match one of them.
        deny: Patterns of tools that are refused.
        tiers: Tiers that may be used.
        max_tokens: Most tokens of one answer.
        read: Memory namespaces that may be searched.
        write: Memory namespaces that may be written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    exp: float | None = None
    tools: tuple[str, ...] | None = None
    deny: tuple[str, ...] | None = None
    tiers: tuple[str, ...] | None = None
    max_tokens: int | None = None
    read: tuple[str, ...] | None = None
    write: tuple[str, ...] | None = None


class _Root(Caveats):
    agent: str
    id: str


@dataclass(frozen=True, slots=True)
class Capability:
    """What a valid token says: the agent it stands for and the caveats that bind it."""

    agent: str
    caveats: tuple[Caveats, ...]


def load_or_create_key(data_dir: Path) -> bytes:
    """Give the kernel's key, made at first use and readable by its owner alone.

    Raises:
        OSError: The directory cannot be written.
    """
    path = data_dir / "token.key"
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_key(path)
    with os.fdopen(handle, "wb") as file:
        key = secrets.token_bytes(32)
        file.write(key)
    return key


def mint(key: bytes, agent: str, *, expires: float, tools: Sequence[str] = ()) -> str:
    """Make a token for an agent.

    Args:
        key: The kernel's key.
        agent: Name of the agent.
        expires: Unix seconds at which it ends.
        tools: Patterns it is narrowed to; none leaves the agent's own.
    """
    root = _Root(
        agent=agent, id=secrets.token_urlsafe(9), exp=expires, tools=tuple(tools) if tools else None
    )
    block = _encode(root)
    return f"{PREFIX}{block}.{_b64(_mac(key, block))}"


def attenuate(token: str, caveats: Caveats) -> str:
    """Give a token that is bound by more caveats. Needs no key.

    Raises:
        TokenRefusedError: The text is no token.
    """
    *blocks, mac = _split(token)
    block = _encode(caveats)
    return PREFIX + ".".join([*blocks, block, _b64(_mac(_unb64(mac), block))])


def verify(token: str, key: bytes, *, now: float) -> Capability:
    """Check a token and give what it says.

    Raises:
        TokenRefusedError: See there.
    """
    *blocks, presented = _split(token)
    mac = key
    for block in blocks:
        mac = _mac(mac, block)
    if not hmac.compare_digest(mac, _unb64(presented)):
        raise TokenRefusedError("the token is not one of this kernel's")
    try:
        root = _Root.model_validate_json(_unb64(blocks[0]))
        rest = [Caveats.model_validate_json(_unb64(block)) for block in blocks[1:]]
    except ValidationError as exc:
        raise TokenRefusedError("the token has a caveat that is not understood") from exc
    caveats = (root, *rest)
    if any(each.exp is not None and now >= each.exp for each in caveats):
        raise TokenRefusedError("the token has expired")
    return Capability(root.agent, caveats)


def _read_key(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != 32:
        raise OSError(f"{path.name} is damaged; delete it to make a new one (old tokens then end)")
    return key


def _split(token: str) -> list[str]:
    parts = token.removeprefix(PREFIX).split(".")
    is_sound = token.startswith(PREFIX) and 2 <= len(parts) <= _MAX_BLOCKS + 1
    if not is_sound or len(token) > _MAX_BYTES or not token.isascii():
        raise TokenRefusedError("this is no capability token")
    return parts


def _mac(key: bytes, block: str) -> bytes:
    return hmac.new(key, block.encode(), hashlib.sha256).digest()


def _encode(caveats: Caveats) -> str:
    text = json.dumps(caveats.model_dump(exclude_none=True), sort_keys=True, separators=(",", ":"))
    return _b64(text.encode())


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as exc:
        raise TokenRefusedError("this is no capability token") from exc
    if _b64(raw) != text:  # one spelling only, so that a token has one digest
        raise TokenRefusedError("this is no capability token")
    return raw
