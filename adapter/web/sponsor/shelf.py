"""Snapshots as they may be sent: in scope, whole, and each file the very bytes that its manifest names.

A file is reached by a name that the manifest has, never by what was asked for; no link is followed on the
way; and its SHA-256 is compared on the same open file that is then read. The manifest is held against the id,
which was made from its hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from adapter.exports.snapshots import MANIFEST, order
from adapter.store.sponsor_tokens import Scope

CHUNK = 1 << 18
_LARGEST_MANIFEST = 64_000_000
_ID = re.compile(r"[0-9]{8}-[0-9a-f]{12,64}")


class Damaged(Exception):
    """A snapshot, or a file of one, is not what it was when it was kept. ``what`` names it within."""

    def __init__(self, snapshot: str, what: str) -> None:
        super().__init__(f"{snapshot}/{what}")
        self.snapshot = snapshot
        self.what = what


class Told(NamedTuple):
    """A file as the manifest describes it."""

    sha256: str
    size: int


class Held(NamedTuple):
    """A snapshot whose manifest is sound. ``files`` are all it names, and no other will ever be sent."""

    id: str
    scope: Scope
    time: str
    manifest: bytes
    content: Mapping[str, Any]
    files: Mapping[str, Told]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.manifest).hexdigest()


class Opened:
    """An open file whose bytes were verified; each read makes sure that it is still the same."""

    def __init__(self, handle: int, size: int, seen: tuple[int, ...]) -> None:
        self._handle = handle
        self._seen = seen
        self.size = size

    def read(self, at: int, most: int = CHUNK) -> bytes:
        """Bytes from ``at``; b"" once the file is not the one that was verified."""
        data = os.pread(self._handle, most, at)
        return data if _seen(os.fstat(self._handle)) == self._seen else b""

    def pieces(self) -> Iterator[bytes]:
        at = 0
        while at < self.size and (piece := self.read(at)):
            at += len(piece)
            yield piece

    def close(self) -> None:
        os.close(self._handle)


class Shelf:
    """The snapshots under one folder. What was hashed once is hashed again when inode, size or times differ
    (a file's change time cannot be set back)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._verified: set[tuple[str, tuple[int, ...]]] = set()
        self._lock = threading.Lock()

    def listed(self, scope: Scope) -> tuple[list[Held], list[str]]:
        """Those in scope, as ``adapter snapshots`` orders them, and the ids of any that are damaged: of those
        not even the scope can be believed."""
        sound, damaged = [], []
        try:
            names = sorted(one.name for one in os.scandir(self._folder) if _ID.fullmatch(one.name))
        except FileNotFoundError:
            names = []
        for name in names:
            try:
                found = self.held(name)
            except Damaged:
                damaged.append(name)
                continue
            if found is not None and found.scope == scope:
                sound.append(found)
        place = order(self._folder)
        return sorted(sound, key=lambda one: (one.time, place.get(one.id, 0), one.id)), damaged

    def held(self, name: str) -> Held | None:
        """The one with this id; None if there is none. Raises :class:`Damaged` if it is not whole."""
        if not _ID.fullmatch(name) or not (self._folder / name).is_dir():
            return None
        try:
            handle = open_inside(self._folder, (name, MANIFEST))
            try:
                data = os.read(handle, _LARGEST_MANIFEST) if _is_file(handle) else b""
            finally:
                os.close(handle)
        except OSError:
            raise Damaged(name, MANIFEST) from None
        if not hashlib.sha256(data).hexdigest().startswith(name.partition("-")[2]):
            raise Damaged(name, MANIFEST)
        found = _held(name, data)
        for path, told in found.files.items():
            if not self._has(name, path, told.size):
                raise Damaged(name, path)
        return found

    def open(self, held: Held, path: str) -> Opened:
        """A file of a snapshot, verified. Raises KeyError for a name that the manifest does not have and
        :class:`Damaged` for other bytes than it names."""
        told = held.files[path]
        try:
            handle = open_inside(self._folder, (held.id, *PurePosixPath(path).parts))
        except OSError:
            raise Damaged(held.id, path) from None
        opened = self.verified(handle, told.sha256)
        if opened is None:
            raise Damaged(held.id, path)
        return opened

    def verified(self, handle: int, sha256: str) -> Opened | None:
        """The open file if its bytes have this hash; else it is closed."""
        seen = _seen(os.fstat(handle))
        opened = Opened(handle, os.fstat(handle).st_size, seen)
        with self._lock:
            known = (sha256, seen) in self._verified
        if not known:
            digest = hashlib.sha256()
            for piece in opened.pieces() if _is_file(handle) else ():
                digest.update(piece)
            if digest.hexdigest() != sha256 or _seen(os.fstat(handle)) != seen:
                opened.close()
                return None
            with self._lock:
                if len(self._verified) > 100_000:
                    self._verified.clear()
                self._verified.add((sha256, seen))
        return opened

    def _has(self, name: str, path: str, size: int) -> bool:
        try:
            found = os.lstat(self._folder / name / path)
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == size


def open_inside(folder: Path, parts: tuple[str, ...]) -> int:
    """A file below a folder, opened for reading; raises OSError where any step is a link or no folder."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            step = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = step
        # a pipe in place of a file would block; a regular file does not mind
        return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    finally:
        os.close(here)


def _held(name: str, data: bytes) -> Held:
    """The manifest's content; its hash is known to be right, so whatever is odd was kept like that."""
    try:
        content = json.loads(data)
        files = {path: told for one in content["datasets"] for path, told in one["files"].items()}
        files |= content.get("documents", {})
        scope = Scope(content["study"], content["site"], content["pseudonymisation"].get("profile", ""))
        told = {path: Told(one["sha256"], one["bytes"]) for path, one in sorted(files.items())}
        time = content["snapshotTime"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged(name, MANIFEST) from None
    if not all(map(_is_plain, told)):
        raise Damaged(name, MANIFEST)
    return Held(name, scope, time, data, content, told)


def _is_plain(path: str) -> bool:
    """A relative path without detours, the same on any system."""
    parts = PurePosixPath(path).parts
    plain = bool(parts) and "/".join(parts) == path
    return plain and not set(parts) & {"..", "/"} and not set(path) & set("\\:\0")


def _is_file(handle: int) -> bool:
    return stat.S_ISREG(os.fstat(handle).st_mode)


def _seen(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
