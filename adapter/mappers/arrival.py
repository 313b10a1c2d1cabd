"""Bytes to resources: what is no resource becomes an issue, and versions of one resource get an order.

Which version of a resource stands, when several were read: the higher ``meta.versionId`` if both are whole
numbers, else the later ``meta.lastUpdated``. If the two orders disagree the version number wins and the issue
VERSION_ORDER says so. Without either, all copies stand and are compared as readings (``corrections.py``).
Order of arrival never decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cmp_to_key
from itertools import pairwise

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


class _Summary(msgspec.Struct, frozen=True, kw_only=True):
    resourceType: str | None = None
    id: str | None = None
    meta: r4.Meta | None = None


class Arrival(msgspec.Struct, frozen=True):
    """One readable resource. ``superseded`` is true if a newer version of it was read too."""

    resource_type: str
    id: str
    raw: RawResource
    sha256: str
    version: int | None = None
    updated: datetime | None = None
    superseded: bool = False

    @property
    def order(self) -> tuple[str, str, bool, str, str]:
        """Canonical: by type and id, versions that stand before those that do not, then content."""
        return (self.resource_type, self.id, self.superseded, self.sha256, self.raw.where)


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
    found.sort(key=lambda one: one.order)
    distinct: list[Arrival] = []
    for arrival in found:
        last = distinct[-1] if distinct else None
        if last is not None and arrival.id and arrival.order[:4] == last.order[:4]:
            refused.append(_copy_of(arrival))
        else:
            distinct.append(arrival)
    notes: list[Issue] = []
    ordered = sorted(_versions(distinct, notes), key=lambda one: one.order)
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
    number = str(head.meta.versionId) if head.meta and head.meta.versionId is not None else ""
    version = version_of(number, (head.meta.lastUpdated if head.meta else None) or "")
    return Arrival(
        name,
        head.id or "",
        raw,
        raw.sha256,
        version.number,
        version.updated,
    )


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


def _versions(arrivals: list[Arrival], notes: list[Issue]) -> Iterator[Arrival]:
    groups: dict[tuple[str, str], list[Arrival]] = {}
    for arrival in arrivals:
        # Resources without id cannot be versions of each other.
        key = (arrival.resource_type, arrival.id or f"\n{arrival.sha256}\n{arrival.raw.where}")
        groups.setdefault(key, []).append(arrival)
    for group in groups.values():
        if len(group) == 1:
            yield group[0]
            continue
        newest = max(group, key=cmp_to_key(_compare))
        for arrival in group:
            older = _compare(arrival, newest) < 0
            yield msgspec.structs.replace(arrival, superseded=True) if older else arrival
        if _disagree(group):
            reference = f"{newest.resource_type}/{newest.id}"
            detail = "versionId and lastUpdated order the versions differently; versionId is believed"
            notes.append(Issue("VERSION_ORDER", "warning", newest.resource_type, reference, "meta", detail))


def _compare(one: Arrival, other: Arrival) -> int:
    """Negative if ``one`` is the older version, 0 if nobody can tell."""
    return compare(Version(one.version, one.updated), Version(other.version, other.updated))


def _disagree(group: list[Arrival]) -> bool:
    timed = [one for one in group if one.version is not None and one.updated is not None]
    by_number = sorted(timed, key=lambda one: (one.version or 0, one.sha256))
    times = [one.updated for one in by_number if one.updated is not None]
    return any(earlier > later for earlier, later in pairwise(times))
