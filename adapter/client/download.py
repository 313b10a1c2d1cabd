"""One file, byte for byte: what is here already is kept, what is missing is asked for by Range.

A part lies under the SHA-256 of the file it will be, with the entity tag of the representation it is a part
of beside it. If-Range makes sure that the rest is of the same one (RFC 9110, 13.1.5); else it starts again.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import requests
import urllib3

from adapter.client.connection import Connection
from adapter.errors import PullUnavailable, PullUntrustworthy

Progress = Callable[[float], None]
CHUNK = 1 << 16
_ATTEMPTS = 6  # without a single byte more
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+)")


class Wanted(NamedTuple):
    """A file of a snapshot: where it is, and what it has to be."""

    url: str
    sha256: str
    size: int


class _State(msgspec.Struct, frozen=True):
    """Of which representation a part is."""

    etag: str
    encoding: str


def fetch(
    connection: Connection,
    wanted: Wanted,
    target: Path,
    parts: Path,
    progress: Progress = lambda _share: None,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Bring one file to ``target``; returns how many bytes came over the wire.

    ``progress`` is told which share (0 to 1) has come. Raises :class:`PullUnavailable` if it keeps breaking
    off, :class:`PullUntrustworthy` if what came is not what was promised.
    """
    part = parts / wanted.sha256
    came = 0
    for last in (False, True):
        came += _complete(connection, wanted, part, progress, wait)
        if _unpacked(part, wanted, target):
            _drop(part)
            return came
        _drop(part)
        if last:
            break
    raise PullUntrustworthy(
        "what came is not what the manifest names, twice",
        where=wanted.url,
        fix="tell the site; what you had before is untouched",
    )


def begun(parts: Path, sha256: str) -> int:
    """How many bytes of a file came so far, as they were sent."""
    return _size(parts / sha256) if _state(parts / sha256) else 0


def is_right(path: Path, sha256: str, size: int) -> bool:
    """Whether a file is here and has this hash."""
    try:
        if path.is_symlink() or path.stat().st_size != size:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
    except OSError:
        return False


def _complete(
    connection: Connection, wanted: Wanted, part: Path, progress: Progress, wait: Callable[[float], None]
) -> int:
    came, idle = 0, 0
    while True:
        before = _size(part)
        done, broken = _more(connection, wanted, part, progress)
        came += max(0, _size(part) - before)
        if done:
            return came
        idle = idle + 1 if _size(part) <= before else 0
        if idle >= _ATTEMPTS:
            raise PullUnavailable(
                "the download keeps breaking off",
                where=wanted.url,
                fix="run the same command later: it goes on where it stopped",
            ) from broken
        wait(min(0.25 * 2**idle, 10.0))


def _more(
    connection: Connection, wanted: Wanted, part: Path, progress: Progress
) -> tuple[bool, Exception | None]:
    """One request: (whether the part is complete, what broke it off)."""
    state, size = _state(part), _size(part)
    headers = {"Range": f"bytes={size}-", "If-Range": state.etag} if state and size else {}
    with connection.get(wanted.url, headers) as answer:
        if answer.status_code == 416:
            if answer.headers.get("Content-Range") == f"bytes */{size}":
                return True, None
            _drop(part)
            return False, None
        now = _State(answer.headers.get("ETag", ""), answer.headers.get("Content-Encoding", ""))
        span = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status_code == 206 and not (span and int(span[1]) == size and now == state):
            _drop(part)
            return False, None
        if answer.status_code == 200:
            _start(part, now)
            size = 0
        total = int(span[2]) if span else int(answer.headers.get("Content-Length") or 0)
        if now.encoding not in ("", "gzip") or total > wanted.size + 65536:
            raise PullUntrustworthy(
                "the site sends something else than its manifest names", where=wanted.url, fix="tell the site"
            )
        return _kept(answer, part, size, total, progress)


def _kept(
    answer: requests.Response, part: Path, size: int, total: int, progress: Progress
) -> tuple[bool, Exception | None]:
    try:
        with part.open("ab") as stream:
            # each piece is in the file before the next is read, so that even kill -9 loses none
            while piece := answer.raw.read1(CHUNK, decode_content=False):
                stream.write(piece)
                stream.flush()
                size += len(piece)
                progress(size / total if total else 1.0)
                if total and size > total:
                    break
    except (urllib3.exceptions.HTTPError, OSError) as fault:
        return False, fault
    return not total or size >= total, None


def _unpacked(part: Path, wanted: Wanted, target: Path) -> bool:
    """Move a complete part to where it belongs, unpacked; False if it is not the file that was promised."""
    state = _state(part)
    draft = part.with_suffix(".file")
    if state is not None and state.encoding == "gzip":
        if not _gunzip(part, draft, wanted.size):
            draft.unlink(missing_ok=True)
            return False
    else:
        part.replace(draft)
    if not is_right(draft, wanted.sha256, wanted.size):
        draft.unlink()
        return False
    with draft.open("rb+") as stream:
        os.fsync(stream.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(target)
    return True


def _gunzip(packed: Path, target: Path, most: int) -> bool:
    """Unpack one gzip member of at most so many bytes: what would fill the disk is cut short."""
    unpacker, size = zlib.decompressobj(31), 0
    try:
        with packed.open("rb") as source, target.open("wb") as sink:
            while piece := source.read(CHUNK):
                while piece and size <= most:
                    data = unpacker.decompress(piece, 1 << 20)
                    sink.write(data)
                    size += len(data)
                    piece = unpacker.unconsumed_tail
    except zlib.error:
        return False
    return unpacker.eof and not unpacker.unused_data and size <= most


def _start(part: Path, state: _State) -> None:
    _drop(part)
    part.parent.mkdir(parents=True, exist_ok=True)
    named = part.with_suffix(".part")
    draft = named.with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(state))
    draft.replace(named)


def _state(part: Path) -> _State | None:
    try:
        state = msgspec.json.decode(part.with_suffix(".part").read_bytes(), type=_State)
    except (OSError, msgspec.MsgspecError):
        return None
    return state if state.etag.startswith('"') else None


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_suffix(".part").unlink(missing_ok=True)


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0
