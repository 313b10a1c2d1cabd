"""The files of a snapshot and the manifest that names them, put in place all at once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from adapter import __version__
from adapter.exports.dataset import Dataset
from adapter.exports.dataset_json import Provenance
from adapter.exports.formats import files_of, write_formats
from adapter.exports.origin import Origin
from adapter.exports.sequence import NO_NUMBERS, SequenceLog

MANIFEST_FORMAT = "2"
LIBRARIES = ("lxml", "pyarrow")
"""Their versions stand in the manifest: they write bytes."""
Document: TypeAlias = bytes | Callable[[Path], None]
"""A further file: its content, or what writes it to a path."""


class ExportReport(msgspec.Struct, frozen=True):
    """What was written: rows by dataset, and what was kept back, by reason.

    ``subjects`` is Patient.id -> SUBJID for the site's enrolment log; it must not leave the site.
    ``extensions`` are values outside the embedded terms of extensible codelists. ``sequences`` is the log of
    --SEQ to keep for the next export, and ``origins`` the source of each numbered row; on the site too.
    ``snapshot`` is the id under which the package is kept.
    """

    target: Path
    rows: dict[str, int]
    withheld: dict[str, int]
    extensions: dict[str, tuple[str, ...]]
    subjects: dict[str, str]
    manifest_sha256: str
    sequences: SequenceLog = NO_NUMBERS
    origins: tuple[Origin, ...] = ()
    snapshot: str = ""


def write_package(
    target: Path,
    datasets: Sequence[Dataset],
    *,
    study_id: str,
    site_id: str,
    snapshot_time: datetime,
    standards: Mapping[str, str],
    versions: Mapping[str, str],
    subjects: Mapping[str, str],
    withheld: Mapping[str, int],
    extensions: Mapping[str, tuple[str, ...]],
    documents: Mapping[str, Document] | None = None,
    checks: Mapping[str, Any] | None = None,
    profile: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Write to a folder beside ``target`` and move it there; an older ``target`` is replaced whole.

    ``documents`` are further files by their path (Define-XML, ODM); ``checks`` is what the package was
    checked for and what was found, as the manifest shows it.
    """
    draft = target.with_name(f".{target.name}.draft-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    guide = "ADaMIG" if "ADaMIG" in standards else "SDTMIG"
    provenance = Provenance(
        study_oid=f"{study_id}.{site_id}",
        metadata_version_oid=f"MDV.{study_id}.{guide}.{standards[guide]}",
        originator=f"Site {site_id}",
        system="trial-fhir-adapter",
        system_version=__version__,
        created=snapshot_time,
    )
    try:
        for dataset in datasets:
            write_formats(dataset, draft, provenance)
        for path, content in (documents or {}).items():
            if callable(content):
                content(draft / path)
            else:
                (draft / path).write_bytes(content)
        manifest = {
            "format": MANIFEST_FORMAT,
            "study": study_id,
            "site": site_id,
            "snapshotTime": snapshot_time.isoformat(timespec="seconds"),
            "producer": {
                "name": "trial-fhir-adapter",
                "version": __version__,
                "libraries": {name: metadata.version(name) for name in LIBRARIES},
            },
            "pseudonymisation": dict(profile or {}),
            "standards": dict(sorted(standards.items())),
            "versions": dict(sorted(versions.items())),
            "datasets": [_describe(dataset, draft) for dataset in datasets],
            "documents": _hashes(draft, sorted(documents or {})),
            "checks": dict(checks or {}),
            "withheld": dict(sorted(withheld.items())),
            "codelistExtensions": {name: list(values) for name, values in sorted(extensions.items())},
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=True) + "\n"
        (draft / "manifest.json").write_text(text, encoding="utf-8", newline="\n")
        _put_in_place(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return ExportReport(
        target=target,
        rows={dataset.name: len(dataset.rows) for dataset in datasets},
        withheld=dict(withheld),
        extensions=dict(extensions),
        subjects=dict(subjects),
        manifest_sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def _describe(dataset: Dataset, folder: Path) -> dict[str, Any]:
    files = _hashes(folder, files_of(dataset.name))
    return {"name": dataset.name, "label": dataset.label, "rows": len(dataset.rows), "files": files}


def _hashes(folder: Path, paths: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for path in paths:
        with (folder / path).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found[path] = {"sha256": digest, "bytes": (folder / path).stat().st_size}
    return found


def _put_in_place(draft: Path, target: Path) -> None:
    """Two renames: a reader sees the old folder, for a moment none, or the new one; never a mixture."""
    former = target.with_name(f".{target.name}.former-{os.getpid()}")
    if target.exists():
        target.rename(former)
    try:
        draft.rename(target)
    except OSError:
        if former.exists():
            former.rename(target)
        raise
    shutil.rmtree(former, ignore_errors=True)
