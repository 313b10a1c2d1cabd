"""The folder a snapshot is pulled to: the old one stays whole until the new one is complete and verified.

What comes is gathered in a hidden folder beside it, and the two change places: on Linux in one step
(renameat2, RENAME_EXCHANGE), elsewhere in two, of which a run that died between them is mended by the next.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adapter.errors import ConfigError, PullUnavailable

MANIFEST = "manifest.json"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


class Target:
    """``draft`` is where the new one is made, ``parts`` where unfinished files lie; both survive a crash."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))  # resolve() would follow a link
        if not self.folder.name:
            raise ConfigError("this is no folder to pull to", where=str(self.folder), fix="name a new folder")
        self.draft = self.folder.with_name(f".{self.folder.name}.pull")
        self.parts = self.folder.with_name(f".{self.folder.name}.parts")
        self._former = self.folder.with_name(f".{self.folder.name}.former")
        self._lock = self.folder.with_name(f".{self.folder.name}.lock")

    def check(self) -> None:
        """Raises :class:`ConfigError` for a place where something else lies than an earlier pull."""
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            raise ConfigError("this is no folder", where=str(self.folder), fix="name a new folder")
        if self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / MANIFEST).is_file():
            raise ConfigError(
                "other files lie here, and a pull replaces the whole folder",
                where=str(self.folder),
                fix="name a new or empty folder",
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else pulls to this folder meanwhile; raises :class:`PullUnavailable` if somebody does."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._lock, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as fault:
            raise ConfigError(
                f"nothing can be written here ({fault.strerror})",
                where=str(self.folder.parent),
                fix="name another folder",
            ) from fault
        try:
            _lock(handle, self.folder)
            self._mend()
            yield
        finally:
            os.close(handle)  # which gives the lock back, as the end of the process does

    def clear(self, wanted: Iterable[str]) -> None:
        """Take out of the draft what does not belong to the snapshot that is pulled now."""
        known = {self.draft / path for path in wanted}
        for path in sorted(self.draft.rglob("*"), reverse=True):
            if path.is_symlink() or path.is_file():
                if path not in known:
                    path.unlink()
            elif not any(path.iterdir()):
                path.rmdir()

    def put_in_place(self, manifest: bytes) -> None:
        """The draft, with its manifest, becomes the folder; what was there goes."""
        with (self.draft / MANIFEST).open("wb") as stream:
            stream.write(manifest)
            stream.flush()
            os.fsync(stream.fileno())
        if not self.folder.exists():
            self.draft.rename(self.folder)
        elif _exchange(self.draft, self.folder):
            self.draft.rename(self._former)
        else:
            self.folder.rename(self._former)
            self.draft.rename(self.folder)
        shutil.rmtree(self._former, ignore_errors=True)
        self.tidy()

    def tidy(self) -> None:
        """Remove what was gathered; there is nothing left to do with it."""
        for folder in (self.draft, self.parts):
            shutil.rmtree(folder, ignore_errors=True)

    def _mend(self) -> None:
        if self._former.exists():
            if self.folder.exists():
                shutil.rmtree(self._former)
            else:
                self._former.rename(self.folder)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    done = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return bool(done == 0)


def _lock(handle: int, folder: Path) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise PullUnavailable(
            "another pull to this folder is at work",
            where=str(folder),
            fix="wait for it, or name another folder",
        ) from None
