"""Bytes to resources: what is no resource becomes an issue, and versions of one resource get an order.

Which version of a resource stands, when several were read: the higher ``meta.versionId`` if both are whole
numbers, else the later ``meta.lastUpdated``. If the two orders disagree the version number wins and the issue
VERSION_ORDER says so. Without either, all copies stand and are compared as readings (``corrections.py``).
Order of arrival never decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cmp_to_key
from itertools import groupby, pairwise
from operator import attrgetter

import msgspec

from adapter.mappers import r4
from adapter.mappers.gaps import Unread
from adapter.mappers.resource_types import RESOURCE_TYPES
from adapter.model.issue import Issue
from adapter.model.resource import RawResource
from adapter.model.versions import Version, compare, version_of

UNKNOWN_TYPE = "unknown"
_CONTAINERS = frozenset({"Bundle", "Parameters"})
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Summary(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    resourceType: str | None = None
    id: str | None = None
    meta: r4.Meta | None = None


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One readable resource, with ``meta.versionId`` and ``meta.lastUpdated`` as they were written.

    ``superseded`` is true if a newer version of it was read too.
    """

    resource_type: str
    id: str
    sha256: str
    raw: RawResource
    version_id: str = ""
    last_updated: str = ""
    superseded: bool = False

    @property
    def version(self) -> Version:
        return version_of(self.version_id, self.last_updated)


_RESOURCE = attrgetter("resource_type", "id")
_ORDER = attrgetter("resource_type", "id", "superseded", "sha256", "raw.where")
"""Canonical: by type and id, versions that stand before those that do not, then content."""


class Arrivals(msgspec.Struct, frozen=True):
    """What was read: resources in canonical order, and the type and issue of each line that is none.

    ``unread`` are the lines of ``refused``, but for those that are copies of a resource.
    """

    resources: tuple[Arrival, ...]
    refused: tuple[Issue, ...]
    notes: tuple[Issue, ...]
    unread: tuple[Unread, ...] = ()


def receive(resources: Iterable[RawResource]) -> Arrivals:
    """Read heads, drop byte-identical copies, order versions; each input is in exactly one of the results."""
    found: list[Arrival] = []
    refused: list[Issue] = []
    unread: list[Unread] = []
    for raw in resources:
        arrival = _arrive(raw)
        if isinstance(arrival, Issue):
            refused.append(arrival)
            unread.append(Unread(raw.line, arrival.code))
        else:
            found.append(arrival)
    found.sort(key=_ORDER)
    notes: list[Issue] = []
    ordered: list[Arrival] = []
    for (_, name), same in groupby(found, key=_RESOURCE):
        group = list(same)
        # Resources without id can be neither copies nor versions of each other.
        ordered += _versions(_distinct(group, refused), notes) if name and len(group) > 1 else group
    return Arrivals(tuple(ordered), tuple(refused), tuple(notes), tuple(unread))


def unreadable(error: Exception, resource_type: str, reference: str) -> Issue:
    """The issue for a line or resource that could not be decoded; says where and what kind, never what."""
    if isinstance(error, RecursionError):
        code, detail = "TOO_DEEP", "nested deeper than any FHIR resource"
    elif isinstance(error, msgspec.ValidationError):
        code, detail = "WRONG_TYPE", str(error)
    elif isinstance(error, UnicodeDecodeError):
        code, detail = "MALFORMED_JSON", "not UTF-8"
    else:
        code, detail = "MALFORMED_JSON", str(error)
    return Issue(code, "error", resource_type, reference, "", detail, "", fatal_for_resource=True)


def _arrive(raw: RawResource) -> Arrival | Issue:
    hinted = raw.resource_type if raw.resource_type in RESOURCE_TYPES else UNKNOWN_TYPE
    try:
        head = r4.decode_struct(raw.line, _Summary)
    except _UNREADABLE as error:
        return unreadable(error, hinted, raw.where)
    name = head.resourceType
    if name is None:
        return _refuse("NO_RESOURCE_TYPE", hinted, raw, "no resourceType")
    if name not in RESOURCE_TYPES:
        return _refuse("UNKNOWN_RESOURCE_TYPE", UNKNOWN_TYPE, raw, "resourceType is not one of FHIR R4")
    if name in _CONTAINERS:
        return _refuse("NOT_UNPACKED", name, raw, "the source hands over the entries, not their container")
    meta = head.meta
    number = str(meta.versionId) if meta and meta.versionId is not None else ""
    updated = (meta.lastUpdated if meta else None) or ""
    return Arrival(name, head.id or "", raw.sha256, raw, number, updated)


def _refuse(code: str, resource_type: str, raw: RawResource, detail: str) -> Issue:
    return Issue(code, "error", resource_type, raw.where, "", detail, "", fatal_for_resource=True)


def _copy_of(arrival: Arrival) -> Issue:
    return Issue(
        "DUPLICATE_RESOURCE",
        "information",
        arrival.resource_type,
        f"{arrival.resource_type}/{arrival.id}",
        "",
        "the same bytes were read before",
        "",
        fatal_for_resource=True,
    )


def _distinct(group: list[Arrival], refused: list[Issue]) -> list[Arrival]:
    """The first of each run of byte-identical copies."""
    found = group[:1]
    for arrival in group[1:]:
        if arrival.sha256 == found[-1].sha256:
            refused.append(_copy_of(arrival))
        else:
            found.append(arrival)
    return found


def _versions(group: list[Arrival], notes: list[Issue]) -> list[Arrival]:
    """The versions of one resource, the ones that stand first."""
    versions = [arrival.version for arrival in group]
    newest = max(versions, key=cmp_to_key(compare))
    if _disagree(group, versions):
        first = group[0]
        reference = f"{first.resource_type}/{first.id}"
        detail = "versionId and lastUpdated order the versions differently; versionId is believed"
        notes.append(Issue("VERSION_ORDER", "warning", first.resource_type, reference, "meta", detail))
    marked = [
        msgspec.structs.replace(arrival, superseded=True) if compare(version, newest) < 0 else arrival
        for arrival, version in zip(group, versions, strict=True)
    ]
    return sorted(marked, key=_ORDER)


def _disagree(group: list[Arrival], versions: list[Version]) -> bool:
    timed = [
        (version.number, arrival.sha256, version.updated)
        for arrival, version in zip(group, versions, strict=True)
        if version.number is not None and version.updated is not None
    ]
    return any(earlier[2] > later[2] for earlier, later in pairwise(sorted(timed)))
