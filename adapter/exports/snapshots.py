"""Snapshots: packages that are never changed, each under an id made from its content.

A snapshot is a package (:mod:`package`) kept under ``<day>-<12 digits of its manifest's SHA-256>``. The
manifest names the hash of every file, so the id stands for all of them: the same facts, rules and programs
give the same id again, and nothing is written twice. Analysis datasets made of the package lie in it as a
folder, and its manifest names them too. What the site alone may know (:mod:`lineage`) lies elsewhere.

Two snapshots of one day differ in their hashes only, which say nothing of time. So ``.order`` beside them has
a line for each time that another one became the latest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from adapter.errors import ExportError, NotFound

MANIFEST, ORDER = "manifest.json", ".order"
_DIGITS = 12


class Snapshot(msgspec.Struct, frozen=True):
    """One kept package; ``rows`` by dataset, ``paths`` of their Dataset-JSON files within it."""

    id: str
    folder: Path
    time: str
    study: str
    manifest_sha256: str
    rows: dict[str, int]
    versions: dict[str, str]
    checks: dict[str, Any] = {}
    profile: str = "sponsor"
    paths: dict[str, str] = {}


def keep(package: Path, snapshots: Path, parts: Mapping[str, Path] | None = None) -> Snapshot:
    """Keep a copy of a package, whole or not at all; one that is kept already is compared, not written.

    ``parts`` are packages made of it, by the name of the folder that each becomes. Raises
    :class:`ExportError` if a file is not the one its manifest names.
    """
    snapshots.mkdir(parents=True, exist_ok=True)
    draft = snapshots / f".draft-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(package, draft)
        for name, part in sorted((parts or {}).items()):
            shutil.copytree(part, draft / name)
            _name_in_manifest(draft, name)
        verify(draft)
        target = snapshots / id_of(draft)
        if not target.exists():
            for path in draft.rglob("*"):
                if path.is_file():
                    path.chmod(0o444)
            _sync(draft)
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    verify(target)
    kept = read(target)
    _remember(snapshots, kept)
    return kept


def _name_in_manifest(folder: Path, part: str) -> None:
    """The datasets, documents and standards of a part, and its manifest, named by that of the whole."""
    _, whole = _manifest(folder)
    data, own = _manifest(folder / part)

    def within(files: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{part}/{path}": told for path, told in files.items()}

    whole["datasets"] += [{**one, "files": within(one["files"])} for one in own["datasets"]]
    named = {MANIFEST: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}}
    whole["documents"] = dict(sorted({**whole["documents"], **within({**own["documents"], **named})}.items()))
    whole["standards"] = dict(sorted({**whole["standards"], **own["standards"]}.items()))
    text = json.dumps(whole, indent=1, ensure_ascii=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")


def _remember(snapshots: Path, kept: Snapshot) -> None:
    """A line more in the order, unless this is the latest of its profile already."""
    before = [one for one in listed(snapshots) if one.profile == kept.profile]
    if before and before[-1].id == kept.id and kept.id in order(snapshots):
        return
    with (snapshots / ORDER).open("a", encoding="ascii") as lines:
        lines.write(f"{kept.id}\n")
        lines.flush()
        os.fsync(lines.fileno())


def order(snapshots: Path) -> dict[str, int]:
    """When each snapshot became the latest, last: a number to sort by within a day."""
    try:
        lines = (snapshots / ORDER).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return {}
    return {name: number for number, name in enumerate(lines, start=1)}


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
        manifest.get("pseudonymisation", {}).get("profile", "sponsor"),
        {one["name"]: _dataset_json(one["files"]) for one in manifest["datasets"]},
    )


def _dataset_json(files: Mapping[str, Any]) -> str:
    return next((path for path in files if path.endswith(".json")), "")


def listed(snapshots: Path) -> tuple[Snapshot, ...]:
    """All that are kept, by time; those of one time in the order in which they became the latest."""
    folders = [one for one in snapshots.glob("*") if (one / MANIFEST).is_file() and one.name[0] != "."]
    places = order(snapshots)
    return tuple(sorted(map(read, folders), key=lambda one: (one.time, places.get(one.id, 0), one.id)))


def named(snapshots: Path, name: str, profile: str = "sponsor") -> Snapshot:
    """The one with this id or an unmistakable beginning of it; ``latest`` is the last of the profile.

    Raises :class:`NotFound`.
    """
    known = listed(snapshots)
    of_profile = [one for one in known if one.profile == profile]
    if name == "latest" and of_profile:
        return of_profile[-1]
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
