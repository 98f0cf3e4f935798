"""Fetches one file of a Hugging Face hub into a cache in the hub's own layout.

What has arrived is kept under the name of its checksum: whatever breaks it off, the next fetch goes
on from there, in this process or in a later one.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from httpx2 import Client, Response, Timeout, TransportError

_SECONDS = 30.0
_COMMIT, _SHA256 = re.compile(r"[0-9a-f]{40}\Z"), re.compile(r"[0-9a-f]{64}\Z")
_ATTEMPTS = 5

OnProgress = Callable[[str, int, int], None]
"""Told the name of a file, the bytes that are here, and the bytes it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a repository, as the hub lists it.

    Attributes:
        repo: `ORG/REPO`.
        commit: The revision that was listed.
        name: Its path in the repository.
        size_bytes: Its size.
        sha256: Its checksum.
    """

    repo: str
    commit: str
    name: str
    size_bytes: int
    sha256: str

    @property
    def is_sound(self) -> bool:
        """Whether what the hub says of it can be made paths of: none leads out of the cache."""
        outside = self.name.startswith("/") or ".." in self.name.split("/") or "\\" in self.name
        return bool(_COMMIT.match(self.commit) and _SHA256.match(self.sha256)) and not outside


class ChecksumError(Exception):
    """What arrived is not the file that the hub lists; it was deleted."""


class NoSpaceError(Exception):
    """The disk has no room for the rest of the file.

    Attributes:
        wanted: Bytes that are still to come.
        left: Bytes that are free.
    """

    def __init__(self, *, wanted: int, left: int) -> None:
        super().__init__(f"{wanted} bytes are to come, {left} are free")
        self.wanted = wanted
        self.left = left


class _HubUrl(Protocol):
    def __call__(self, repo: str, file: str, *, revision: str, endpoint: str | None) -> str: ...


class _Utils(Protocol):
    """The part of `huggingface_hub.utils` that is used here; its own types are in part unknown."""

    def build_hf_headers(self) -> dict[str, str]: ...

    def WeakFileLock(self, lock_file: Path) -> AbstractContextManager[object]: ...


_hub_url = cast("_HubUrl", import_module("huggingface_hub").hf_hub_url)
_utils = cast("_Utils", import_module("huggingface_hub.utils"))


def fetch_file(
    file: HubFile, folder: Path, *, endpoint: str | None, on_progress: OnProgress
) -> Path:
    """Fetch a file unless it is here; gives its path among the files of its revision.

    Raises:
        ChecksumError: It is not what the hub lists.
        NoSpaceError: The disk is full, or would be.
        TransportError: The connection broke again and again.
        HTTPStatusError: The hub refuses it.
        OSError: The cache cannot be written.
    """
    home = folder / f"models--{file.repo.replace('/', '--')}"
    blob = home / "blobs" / file.sha256
    blob.parent.mkdir(parents=True, exist_ok=True)
    with _utils.WeakFileLock(blob.with_suffix(".lock")):
        if not blob.is_file():
            part = blob.with_suffix(".incomplete")
            _fetch_rest(file, part, endpoint, on_progress)
            if _sha256(part) != file.sha256:
                part.unlink()
                raise ChecksumError(file.name)
            part.replace(blob)
        link = home / "snapshots" / file.commit / file.name
        _link(link, blob)
        _note_revision(home, file.commit)
    return link


def _fetch_rest(file: HubFile, part: Path, endpoint: str | None, on_progress: OnProgress) -> None:
    url = _hub_url(file.repo, file.name, revision=file.commit, endpoint=endpoint)
    attempts = 0
    with (
        Client(timeout=Timeout(_SECONDS), follow_redirects=True) as client,
        part.open("ab") as out,
    ):
        while (here := out.tell()) < file.size_bytes:
            left = shutil.disk_usage(part.parent).free
            if file.size_bytes - here > left:
                raise NoSpaceError(wanted=file.size_bytes - here, left=left)
            try:
                _fetch_some(client, url, file, out, on_progress)
            except TransportError:
                # One that brings something each time is worth going on with.
                attempts = attempts + 1 if out.tell() == here else 0
                if attempts == _ATTEMPTS:
                    raise


def _fetch_some(
    client: Client, url: str, file: HubFile, out: BinaryIO, on_progress: OnProgress
) -> None:
    here = out.tell()
    headers = _utils.build_hf_headers() | {"Accept-Encoding": "identity"}
    if here:
        headers["Range"] = f"bytes={here}-"
    with client.stream("GET", url, headers=headers) as answer:
        answer.raise_for_status()
        if here and not _goes_on(answer, here):
            _empty(out)
        for block in answer.iter_raw():
            out.write(block)
            out.flush()
            on_progress(file.name, out.tell(), file.size_bytes)
    if out.tell() > file.size_bytes:
        _empty(out)
        raise ChecksumError(file.name)


def _empty(out: BinaryIO) -> None:
    out.seek(0)
    out.truncate()


def _goes_on(answer: Response, here: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {here}-")


def _link(link: Path, blob: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(os.path.relpath(blob, link.parent))
    except OSError:
        # Some systems allow no links; the blob itself serves as well.
        shutil.copyfile(blob, link)


def _note_revision(home: Path, commit: str) -> None:
    refs = home / "refs"
    refs.mkdir(exist_ok=True)
    (refs / "main").write_text(commit, encoding="ascii")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
