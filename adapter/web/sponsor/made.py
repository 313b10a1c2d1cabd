"""What is made once and kept: gzip of files, and differences. A kept file has its own SHA-256 in its name.

Everything here can be made again from the snapshots, so the folder may be deleted at any time.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, NamedTuple, cast

from adapter.web.sponsor.shelf import Opened, Shelf, open_inside


class Made(NamedTuple):
    opened: Opened
    sha256: str


class Workshop:
    """A folder of made files, readable by this user alone."""

    def __init__(self, folder: Path, shelf: Shelf) -> None:
        self._folder = folder
        self._shelf = shelf
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: str, pieces: Callable[[], Iterable[bytes]]) -> Made:
        """The file of this key (letters, digits, ``-`` and ``_``), made from ``pieces`` if there is none."""
        with self._lock:
            mine = self._locks.setdefault(key, threading.Lock())
        with mine:
            return self._kept(key) or self._make(key, pieces)

    def _kept(self, key: str) -> Made | None:
        for path in sorted(self._folder.glob(f"{key}.*")):
            digest = path.suffix[1:]
            try:
                opened = self._shelf.verified(open_inside(self._folder, (path.name,)), digest)
            except OSError:
                continue
            if opened is not None:
                return Made(opened, digest)
            path.unlink(missing_ok=True)
        return None

    def _make(self, key: str, pieces: Callable[[], Iterable[bytes]]) -> Made:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._folder / f".draft-{uuid.uuid4().hex}"
        digest = hashlib.sha256()
        try:
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
                for piece in pieces():
                    digest.update(piece)
                    stream.write(piece)
            draft.rename(self._folder / f"{key}.{digest.hexdigest()}")
        finally:
            draft.unlink(missing_ok=True)
        found = self._kept(key)
        if found is None:
            raise OSError("what was just made is gone")
        return found


def gzipped(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """The pieces as one gzip member (RFC 1952) without name and time: the same bytes give the same bytes."""
    sink = _Sink()
    with gzip.GzipFile("", "wb", 6, cast(IO[bytes], sink), mtime=0) as packer:
        for piece in pieces:
            packer.write(piece)
            yield sink.taken()
    yield sink.taken()


class _Sink:
    """Where gzip writes to, emptied after each piece."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def flush(self) -> None:
        return None

    def taken(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data
