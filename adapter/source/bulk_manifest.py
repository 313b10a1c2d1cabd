"""The manifest of a bulk export, and what it lets us conclude about completeness.

The Bulk Data completion manifest (Bulk Data Access IG 2.0.0, "Response - Complete Status") lists the files
with their types and counts, the request, and error files. From it and from what lies in the folder follows
coverage: a type is complete for everyone if it was asked for without a filter and nothing of it is missing.
A type that is absent is complete only if the request names it in ``_type``: the specification leaves out
files of types without data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from adapter.model.coverage import Coverage
from adapter.model.issue import Issue
from adapter.source.compressed import plain_name
from adapter.source.ndjson import type_in_name

NAMES = ("manifest.json", "export-manifest.json", "_manifest.json")


class Output(msgspec.Struct, frozen=True):
    """One file the export server lists."""

    type: str = ""
    url: str = ""
    count: int | None = None

    @property
    def name(self) -> str:
        return PurePosixPath(urlsplit(self.url).path).name


class _Response(msgspec.Struct, frozen=True):
    request: str = ""
    transactionTime: str = ""
    output: tuple[Output, ...] = ()
    error: tuple[Output, ...] = ()
    deleted: tuple[Output, ...] = ()
    link: tuple[Any, ...] = ()


class Export(msgspec.Struct, frozen=True):
    """What is known of the export; everything is empty where the folder has no manifest.

    ``limits`` say why something asked for may be missing, ``narrowed`` that less was asked for.
    """

    known: bool = False
    file: str = ""
    types: frozenset[str] = frozenset()
    limits: tuple[str, ...] = ()
    narrowed: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    not_data: frozenset[str] = frozenset()
    asked: dict[str, str] = {}
    issues: tuple[Issue, ...] = ()


def read(folder: Path) -> Export:
    """Read the folder's manifest, if any; one that cannot be read is an issue, not a fault."""
    path = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if path is None:
        return Export()
    try:
        response = msgspec.json.decode(path.read_bytes(), type=_Response)
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        issue = _issue("MANIFEST_UNREADABLE", path.name, detail=str(fault))
        return Export(file=path.name, limits=("its manifest cannot be read",), issues=(issue,))
    query = parse_qs(urlsplit(response.request).query)
    types = frozenset(name for value in query.get("_type", ()) for name in value.split(",") if name)
    narrowed = [f"{name} in the request" for name in ("_since", "_typeFilter", "_elements") if name in query]
    limits: list[str] = []
    if response.link:
        limits.append("the manifest has a further page")
    issues = []
    errors = _real_errors(folder, response.error)
    if errors:
        limits.append("the export reported errors")
        issues.append(_issue("EXPORT_ERRORS", path.name, detail=f"{errors} error files or outcomes"))
    asked = {"transaction_time": response.transactionTime, "types": ",".join(sorted(types))}
    return Export(
        known=True,
        file=path.name,
        types=types,
        limits=tuple(limits),
        narrowed=tuple(narrowed),
        outputs=response.output,
        not_data=frozenset(output.name for output in (*response.error, *response.deleted)),
        asked={key: value for key, value in asked.items() if value},
        issues=tuple(issues),
    )


def is_not_data(export: Export, name: str) -> bool:
    """Whether a file holds the export's errors or deletions instead of resources."""
    return plain_name(name) in {plain_name(other) for other in export.not_data}


def compare(export: Export, lines: Mapping[str, int]) -> list[Issue]:
    """Files and counts the manifest promised against what lies there (``lines``: file name to lines)."""
    found = {plain_name(name): count for name, count in lines.items()}
    issues = []
    for output in export.outputs:
        count = found.get(plain_name(output.name))
        if count is None:
            detail = "listed in the manifest, not in the folder"
            issues.append(_issue("FILE_MISSING", output.name, output.type, detail))
        elif output.count is not None and output.count != count:
            detail = f"the manifest says {output.count}, the file has {count}"
            issues.append(_issue("COUNT_MISMATCH", output.name, output.type, detail))
    return issues


def asked_on(export: Export, now: datetime) -> date:
    """The last day an export can speak of, in the zone of ``now``: that of its transaction time.

    Without one nothing is known but that the files were there when they were landed.
    """
    try:
        moment = datetime.fromisoformat(export.asked.get("transaction_time", ""))
    except ValueError:
        return now.date()
    return min(moment.astimezone(now.tzinfo), now).date() if moment.tzinfo else now.date()


def coverage(
    export: Export, present: Mapping[str, frozenset[str]], issues: Iterable[Issue], last: date | None = None
) -> tuple[Coverage, ...]:
    """One row per resource type, for everyone; what is complete is so up to the day ``last``.

    ``present`` maps file names to the types in them. An issue with a file makes every type it may hold
    incomplete. A type the token does not cover, of which nothing came, is one that is not offered.
    """
    damaged = {plain_name(issue.reference.split(":")[0]): issue for issue in issues}
    broken: dict[str, str] = {}
    types = set(export.types)
    for name, inside in present.items():
        announced = type_in_name(name)
        own = {announced} if announced in inside else inside - {""}
        types |= own
        if issue := damaged.get(plain_name(name)):
            broken |= dict.fromkeys(own | ({announced} - {""}), issue.code)
    for issue in damaged.values():
        if issue.code in ("FILE_MISSING", "TYPE_WITHHELD"):
            broken[issue.resource_type or type_in_name(issue.reference)] = issue.code
    types |= broken.keys() - {""}
    came = frozenset[str]().union(*present.values())
    rows = []
    for kind in sorted(types):
        wrong = [*export.limits, *([broken[kind]] if kind in broken else [])]
        reasons = [*export.narrowed, *wrong]
        limited = bool(reasons) and (not wrong or (wrong == ["TYPE_WITHHELD"] and kind not in came))
        known = "bulk export" if export.known else "all files of the folder"
        end = None if reasons else last
        reason = "; ".join(reasons) or known
        rows.append(Coverage(kind, not reasons, end=end, reason=reason, limited=limited))
    return tuple(rows)


def _real_errors(folder: Path, outputs: Iterable[Output]) -> int:
    """Error files that are missing or hold an outcome of severity error or fatal."""
    bad = 0
    for output in outputs:
        try:
            lines = (folder / output.name).read_bytes().splitlines()
            outcomes = [msgspec.json.decode(line) for line in lines if line.strip()]
            severities = {issue.get("severity") for outcome in outcomes for issue in outcome.get("issue", ())}
        except (OSError, msgspec.MsgspecError, AttributeError):
            bad += 1
            continue
        bad += not severities <= {"information", "warning"}
    return bad


def _issue(code: str, reference: str, resource_type: str = "", detail: str = "") -> Issue:
    return Issue(code, "error", resource_type, reference, detail=detail)
