"""Snapshots: packages that are never changed, each under an id made from its content.

A snapshot is a package (:mod:`package`) kept under ``<day>-<12 digits of its manifest's SHA-256>``. The
manifest names the hash of every file, so the id stands for all of them: the same facts, rules and programs
give the same id again, and nothing is written twice. What the site alone may know (:mod:`lineage`) lies
elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from adapter.errors import ExportError, NotFound

MANIFEST = "manifest.json"
_DIGITS = 12


class Snapshot(msgspec.Struct, frozen=True):
    """One kept package; ``rows`` by dataset."""

    id: str
    folder: Path
    time: str
    study: str
    manifest_sha256: str
    rows: dict[str, int]
    versions: dict[str, str]
    checks: dict[str, Any] = {}


def keep(package: Path, snapshots: Path) -> Snapshot:
    """Keep a copy of a package, whole or not at all; one that is kept already is compared, not written.

    Raises :class:`ExportError` if a file is not the one its manifest names.
    """
    name = id_of(package)
    target = snapshots / name
    if not target.exists():
        verify(package)
        snapshots.mkdir(parents=True, exist_ok=True)
        draft = snapshots / f".{name}.draft-{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            shutil.copytree(package, draft)
            for path in draft.rglob("*"):
                if path.is_file():
                    path.chmod(0o444)
            _sync(draft)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    verify(target)
    return read(target)


def id_of(package: Path) -> str:
    """The id of a package: the day of its snapshot time and the head of its manifest's hash."""
    data, manifest = _manifest(package)
    return f"{manifest['snapshotTime'][:10].replace('-', '')}-{hashlib.sha256(data).hexdigest()[:_DIGITS]}"


def read(folder: Path) -> Snapshot:
    """What a kept package is; raises :class:`ExportError` if its manifest is not one."""
    data, manifest = _manifest(folder)
    return Snapshot(
        folder.name,
        folder,
        manifest["snapshotTime"],
        manifest["study"],
        hashlib.sha256(data).hexdigest(),
        {one["name"]: one["rows"] for one in manifest["datasets"]},
        {**manifest["versions"], **manifest["standards"], "program": manifest["producer"]["version"]},
        manifest.get("checks", {}),
    )


def listed(snapshots: Path) -> tuple[Snapshot, ...]:
    """All that are kept, by time and id."""
    folders = [one for one in snapshots.glob("*") if (one / MANIFEST).is_file() and one.name[0] != "."]
    return tuple(sorted(map(read, folders), key=lambda one: (one.time, one.id)))


def named(snapshots: Path, name: str) -> Snapshot:
    """The one with this id or an unmistakable beginning of it; ``latest`` is the last by time.

    Raises :class:`NotFound`.
    """
    known = listed(snapshots)
    if name == "latest" and known:
        return known[-1]
    found = [one for one in known if one.id.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = "no snapshot" if not found else f"{len(found)} snapshots"
    raise NotFound(f"{what} {name!r}", where=str(snapshots), fix="adapter snapshots lists them")


def verify(folder: Path) -> None:
    """Compare every file with the manifest; raises :class:`ExportError` naming the first that differs."""
    _, manifest = _manifest(folder)
    files = {path: told for one in manifest["datasets"] for path, told in one["files"].items()}
    files |= manifest.get("documents", {})
    for path, told in sorted(files.items()):
        try:
            with (folder / path).open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            digest = ""
        if digest != told["sha256"]:
            raise ExportError("not the file that the manifest names", where=str(folder / path))
    present = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    if extra := present - files.keys() - {MANIFEST}:
        raise ExportError("a file that the manifest does not name", where=str(folder / min(extra)))


def _manifest(folder: Path) -> tuple[bytes, dict[str, Any]]:
    try:
        data = (folder / MANIFEST).read_bytes()
        return data, json.loads(data)
    except (FileNotFoundError, json.JSONDecodeError) as fault:
        raise ExportError("no package here", where=str(folder), fix="run adapter export") from fault


def _sync(folder: Path) -> None:
    """To the disk, so that a power cut after the rename leaves no empty file under a final name."""
    for path in (*(one for one in folder.rglob("*") if one.is_file()), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
