"""A bulk export on disk: what was asked, where its status is, and which files are here and verified.

An export may last for weeks and be stopped at any moment. ``job.json`` (replaced whole, synced) names the
status address; no link to a file is kept, since those may be secrets and expire: they are asked for again.
A file is first written under ``partial/``; once verified, a line with its size and hash goes to
``verified.ndjson``, and only then it is renamed into ``files/``. What the journal says is believed only if
the bytes agree, so a power cut costs at most a download. The folder is readable by its owner only: it holds
records of patients.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from adapter.errors import Retriable
from adapter.source.bulk_request import ExportRequest

FORMAT = "adapter-bulk-job/1"
Phase = Literal["asked", "downloaded", "landed"]
_NAME = re.compile(r"[A-Za-z]{1,64}\.[0-9a-f]{16}\.ndjson(\.gz)?")


class Job(msgspec.Struct, frozen=True):
    """``job.json``; ``status_url`` is as the server gave it in Content-Location."""

    format: str
    server: str
    request: ExportRequest
    fingerprint: str
    status_url: str
    started_at: str
    phase: Phase = "asked"
    starts: int = 1


class Verified(msgspec.Struct, frozen=True):
    """A file that is here: its name, without and with ``.gz``, size, hash and lines."""

    key: str
    name: str
    bytes: int
    sha256: str
    lines: int


class JobFolder:
    """The folder of one job; use under :meth:`locked`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = root / "files"
        self.partial = root / "partial"
        self.verified: dict[str, Verified] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time; the lock goes with the process, however it ends."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.root.with_name(f".{self.root.name}.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Retriable(
                    "another process is at work on this export",
                    where=str(self.root),
                    fix="wait for it to end, or stop it; then run the same command again",
                ) from None
            yield

    def read(self) -> Job | None:
        """The job that was left here, if any; one that cannot be read is none."""
        try:
            job = msgspec.json.decode((self.root / "job.json").read_bytes(), type=Job)
        except (OSError, msgspec.MsgspecError):
            return None
        return job if job.format == FORMAT else None

    def write(self, job: Job) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self.root / ".job.json.partial"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(job), indent=1) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self.root / "job.json")
        _sync_folder(self.root)

    def clear(self) -> None:
        """Forget the job and its files."""
        (self.root / "job.json").unlink(missing_ok=True)
        shutil.rmtree(self.root, ignore_errors=True)
        self.verified = {}

    def clear_files(self) -> None:
        """Forget the files of an export that the server no longer knows: another one is another snapshot."""
        for path in (self.files, self.partial, self.root / "verified.ndjson"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.verified = {}

    def open(self) -> None:
        """Make the folders and find out which files are here: believed if size and hash agree."""
        for folder in (self.files, self.partial):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.verified = {}
        journal = self.root / "verified.ndjson"
        lines = journal.read_bytes().split(b"\n") if journal.exists() else []
        for line in lines:
            try:
                one = msgspec.json.decode(line, type=Verified)
            except msgspec.MsgspecError:
                continue  # a line cut short by a crash
            if _NAME.fullmatch(one.name) and self._is_here(one):
                self.verified[one.key] = one
        if lines and lines[-1]:
            with journal.open("ab") as out:
                out.write(b"\n")

    def keep(self, path: Path, one: Verified, *, verified: bool) -> None:
        """Take a file in: a verified one first into the journal, then under its own name."""
        if verified:
            with (self.root / "verified.ndjson").open("ab") as journal:
                journal.write(msgspec.json.encode(one) + b"\n")
            self.verified[one.key] = one
        path.replace(self.files / one.name)
        self.start_again(one.key)

    def start_again(self, key: str) -> None:
        """What is here of a file cannot be gone on with."""
        (self.partial / f"{key}.etag").unlink(missing_ok=True)

    def sync(self) -> None:
        """Bring journal and names to the disk; called now and then, and when all files are here."""
        for path in (self.root / "verified.ndjson", self.files, self.partial):
            if path.exists():
                _sync_folder(path)

    def _is_here(self, one: Verified) -> bool:
        for path in (self.files / one.name, self.partial / one.key):
            try:
                if path.stat().st_size != one.bytes:
                    continue
                with path.open("rb") as stream:
                    if hashlib.file_digest(stream, "sha256").hexdigest() != one.sha256:
                        continue
            except OSError:
                continue
            if path.parent == self.partial:
                path.replace(self.files / one.name)
            return True
        return False


def new_job(server: str, request: ExportRequest, fingerprint: str, status_url: str, now: datetime) -> Job:
    return Job(FORMAT, server, request, fingerprint, status_url, now.isoformat())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
