"""From downloaded files to a landing: a full export replaces what was landed, an increment changes it.

The folder of files gets a manifest of our own making: local names instead of links, and a request that names
only the types whose absence proves something. An increment (``_since``) takes what was deleted out of the
older landing, puts the newer version in place of the older one and adds the rest; a type is complete
afterwards if it was so before and the increment is.

Source: Bulk Data Access IG 2.0.0, "Response - Complete Status" (``deleted``: transaction Bundles whose
entries have ``request.method`` DELETE; what stands in them shall not stand in ``output``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from adapter.model.coverage import Coverage
from adapter.model.issue import Issue, Severity
from adapter.model.versions import Version, compare
from adapter.source import bulk_manifest
from adapter.source.bulk_download import SetAside
from adapter.source.bulk_job import Job, JobFolder
from adapter.source.bulk_status import ListedFile, Listing
from adapter.source.changes import head_of
from adapter.source.landing import Landing, LandingWriter, land_folder
from adapter.source.ndjson import Limits, NdjsonFile, files_in

MANIFEST = "manifest.json"
UNREADABLE = "Unreadable"  # the file of lines whose type cannot be read
Key = tuple[str, str]
_DELETED = re.compile(r"(?:^|/)([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})$")


class _Head(msgspec.Struct):
    resourceType: str = ""
    id: str = ""


class _Request(msgspec.Struct):
    method: str = ""
    url: str = ""


class _Entry(msgspec.Struct):
    request: _Request = msgspec.field(default_factory=_Request)


class _Bundle(msgspec.Struct):
    resourceType: str = ""
    entry: list[_Entry] = []


class _OutcomeIssue(msgspec.Struct):
    severity: str = ""
    code: str = ""


class _Outcome(msgspec.Struct):
    resourceType: str = ""
    issue: list[_OutcomeIssue] = []


_HEAD = msgspec.json.Decoder(_Head)


def prepare(folder: JobFolder, job: Job, listing: Listing, files: Iterable[ListedFile]) -> None:
    """Write the local manifest; a file that could not be had stays listed, so that it is missed."""
    request = job.request
    query = [("_type", ",".join(request.proven_by_silence))]
    query += [("_since", request.since)] if request.since else []
    query += [("_typeFilter", text) for text in request.type_filters]
    parts: dict[str, list[dict[str, object]]] = {"output": [], "error": [], "deleted": []}
    for file in sorted(files, key=lambda one: one.key):
        item: dict[str, object] = {"type": file.type, "url": file.key}
        parts[file.part].append(item | ({} if file.count is None else {"count": file.count}))
    written = {
        "transactionTime": listing.transaction_time,
        "request": f"{job.server}{request.path}?{urlencode(query)}",
        "requiresAccessToken": False,
        **parts,
    }
    (folder.files / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=1))


def remarks(folder: JobFolder, set_aside: Iterable[SetAside], listing: Listing) -> list[Issue]:
    """What is wrong with the export, apart from what is seen in its files when they are landed."""
    issues = [
        _issue(
            "FILE_DOUBTFUL" if one.kept else "FILE_UNREAD",
            "error",
            one.file.key,
            one.file.type if one.file.part == "output" else "",
            one.reason,
        )
        for one in set_aside
    ]
    if listing.unreadable:
        issues.append(
            _issue("EXPORT_ERRORS", "error", MANIFEST, detail=f"{listing.unreadable} entries without link")
        )
    counted: Counter[tuple[str, str]] = Counter()
    for path in files_in(folder.files):
        if path.name.startswith("error."):
            counted += _outcomes(path)
    for (severity, code), times in sorted(counted.items()):
        serious: Severity = "warning" if severity in ("information", "warning") else "error"
        issues.append(
            _issue("EXPORT_OUTCOME", serious, MANIFEST, detail=f"{times} of severity {severity}: {code}")
        )
    return issues


def land(
    folder: JobFolder,
    job: Job,
    target: Path,
    *,
    now: datetime,
    issues: Iterable[Issue],
    base: Landing | None = None,
    limits: Limits | None = None,
) -> Landing:
    """Land the downloaded files at ``target``, onto ``base`` if the request has ``since``.

    Either way what differs from ``base`` becomes part of the history.
    """
    asked = {
        "kind": "bulk",
        "server": job.server,
        "level": job.request.level,
        "group": job.request.group,
        "types": ",".join(job.request.types),
        "since": job.request.since,
    }
    asked = {name: text for name, text in asked.items() if text}
    if base is not None and job.request.since:
        return _land_onto(base, folder.files, target, now=now, asked=asked, issues=issues, limits=limits)
    return land_folder(folder.files, target, now=now, limits=limits, asked=asked, issues=issues, revises=base)


def _land_onto(
    base: Landing,
    files: Path,
    target: Path,
    *,
    now: datetime,
    asked: Mapping[str, str],
    issues: Iterable[Issue],
    limits: Limits | None,
) -> Landing:
    export = bulk_manifest.read(files)
    wrong = [*export.issues, *issues]
    deleted = _deletions(files, wrong, limits)
    with LandingWriter(target, base) as writer:
        writer.why = dict.fromkeys(deleted, "deleted, says the export")
        newer, present, counts = _write_increment(writer, files, export, wrong, limits)
        if both := deleted & newer.keys():
            wrong.append(
                _issue(
                    "DELETED_AND_SENT", "warning", MANIFEST, detail=f"{len(both)} resources; they are kept"
                )
            )
        for resource in base.resources():
            key = _key(resource.line)
            if key not in newer and key in deleted:
                continue
            if key not in newer or _is_newer(resource.line, newer[key]):
                writer.write(resource.resource_type or UNREADABLE, resource.line)
        wrong += bulk_manifest.compare(export, counts)
        narrowed = tuple(text for text in export.narrowed if not text.startswith("_since"))
        unread = ("deletions could not be read",) if _unread(wrong) else ()
        rows = bulk_manifest.coverage(
            msgspec.structs.replace(export, limits=(*export.limits, *unread), narrowed=narrowed),
            present,
            wrong,
            bulk_manifest.asked_on(export, now),
        )
        coverage = _joined(base.coverage, rows)
        return writer.finish(
            now=now,
            asked={**asked, **export.asked, "types": asked.get("types", "")},
            coverage=coverage,
            issues=(*base.issues, *wrong),
            limits=limits,
        )


def _write_increment(
    writer: LandingWriter,
    files: Path,
    export: bulk_manifest.Export,
    wrong: list[Issue],
    limits: Limits | None,
) -> tuple[dict[Key, Version], dict[str, frozenset[str]], dict[str, int]]:
    """Copy the increment's resources; their versions, the types and the number of lines of each file."""
    newer: dict[Key, Version] = {}
    present: dict[str, frozenset[str]] = {}
    counts: dict[str, int] = {}
    for path in files_in(files):
        if bulk_manifest.is_not_data(export, path.name):
            continue
        file = NdjsonFile(path, limits)
        kinds: set[str] = set()
        counts[path.name] = 0
        for _, line in file.lines():
            kind, name = key = _key(line)
            if name:
                newer[key] = head_of(line).version
            kinds.add(kind)
            counts[path.name] += 1
            writer.write(kind or UNREADABLE, line)
        present[path.name] = frozenset(kinds)
        wrong += file.issues
    return newer, present, counts


def _is_newer(line: bytes, than: Version) -> bool:
    """Whether a resource of the base is newer than the increment's: then both are kept and it stands."""
    return compare(head_of(line).version, than) > 0


def _joined(before: Iterable[Coverage], after: Iterable[Coverage]) -> tuple[Coverage, ...]:
    old = {row.resource_type: row for row in before}
    new = {row.resource_type: row for row in after}
    rows = []
    for kind in sorted(old | new):
        if kind not in new:
            rows.append(Coverage(kind, False, reason="not part of the increment"))
        elif kind not in old:
            rows.append(Coverage(kind, False, reason="not part of the export before the increment"))
        else:
            weaker = new[kind] if not new[kind].complete else old[kind]
            if weaker.complete:
                rows.append(Coverage(kind, True, end=new[kind].end, reason="bulk increments"))
            else:
                # what an increment leaves out, the older landing may hold in a version that no longer stands
                limited = old[kind].limited and not new[kind].lost
                rows.append(msgspec.structs.replace(weaker, limited=limited))
    return tuple(rows)


def _deletions(files: Path, wrong: list[Issue], limits: Limits | None) -> set[Key]:
    deleted: set[Key] = set()
    unread = 0
    for path in files_in(files):
        if not path.name.startswith("deleted."):
            continue
        for _, line in NdjsonFile(path, limits).lines():
            try:
                bundle = msgspec.json.decode(line, type=_Bundle)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                unread += 1
                continue
            for entry in bundle.entry:
                found = _DELETED.search(entry.request.url)
                if entry.request.method != "DELETE" or not found:
                    unread += 1
                else:
                    deleted.add((found[1], found[2]))
    if unread:
        wrong.append(_issue("DELETION_UNREAD", "error", MANIFEST, detail=f"{unread} entries"))
    return deleted


def _unread(wrong: Iterable[Issue]) -> bool:
    return any(
        issue.code == "DELETION_UNREAD"
        or (issue.code in ("FILE_UNREAD", "FILE_DOUBTFUL") and issue.reference.startswith("deleted."))
        for issue in wrong
    )


def _outcomes(path: Path) -> Counter[tuple[str, str]]:
    counted: Counter[tuple[str, str]] = Counter()
    for _, line in NdjsonFile(path).lines():
        try:
            outcome = msgspec.json.decode(line, type=_Outcome)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            counted["error", "unreadable"] += 1
            continue
        counted.update((_word(issue.severity), _word(issue.code)) for issue in outcome.issue)
    return counted


def _word(code: str) -> str:
    return code if re.fullmatch("[a-z-]{1,40}", code) else "other"


def _key(line: bytes) -> Key:
    try:
        head = _HEAD.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", ""
    return (head.resourceType if re.fullmatch("[A-Za-z]{1,64}", head.resourceType) else ""), head.id


def _issue(code: str, severity: Severity, reference: str, resource_type: str = "", detail: str = "") -> Issue:
    return Issue(code, severity, resource_type, reference, detail=detail)
