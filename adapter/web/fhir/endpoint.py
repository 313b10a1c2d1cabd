"""FHIR interactions on the adapter's own store, free of HTTP.

References are not checked against the hospital: patients live there. What is stored is valid R4 (by R4B's
models, and the required codes that those do not enforce). Nothing is ever deleted: a Flag is closed, a status
changed, and the version before stays. Source: https://hl7.org/fhir/R4/http.html.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, tzinfo
from typing import Any

from adapter.store.parameters import PROJECTED, STORED, TYPES
from adapter.store.resources import ResourceStore, Shelf, VersionConflict
from adapter.web.fhir import projections
from adapter.web.fhir.searching import Page, Search, Source, page, understood
from adapter.web.interactions import Clock, Refused
from adapter.writeback.identity import is_fhir_id
from adapter.writeback.profile import R4_CODES
from adapter.writeback.resources import Json, r4_faults

_REQUIRED = {
    "ResearchSubject": "research-subject-status",
    "Flag": "flag-status",
    "ResearchStudy": "research-study-status",
}
_ETAG = re.compile(r'(?:W/)?"?([A-Za-z0-9\-.]{1,64})"?')


class Endpoint:
    """Every method is one database transaction. ``zone`` is where dates without an offset are from."""

    def __init__(self, store: ResourceStore, clock: Clock, zone: tzinfo = UTC) -> None:
        self._store = store
        self._clock = clock
        self._zone = zone
        store.index()

    def read(self, kind: str, key: str, version: str = "") -> Json:
        known(kind)
        if version and (kind in PROJECTED or not version.isascii() or not version.isdigit()):
            raise Refused(404, "not-found", "no such version")
        with self._source(kind) as source:
            current = source.matching(kind, [("_id", frozenset({key}))]).get(key, 0)
            found = source.read(kind, key, int(version[:18]) if version else current)
        if found is None:
            raise Refused(404, "not-found", f"no {kind} with this id or version")
        return found

    def history(self, kind: str, key: str, count: int, before: int | None) -> tuple[list[Json], int]:
        """Versions of one resource, newest first, those below ``before`` only; and how many there are."""
        stored(kind)
        with self._store.view() as shelf:
            newest = shelf.current_version(kind, key)
            if not newest:
                raise Refused(404, "not-found", f"no {kind} with this id")
            first = newest if before is None else min(newest, before - 1)
            found = [shelf.read(kind, key, number) for number in range(first, max(0, first - count), -1)]
            return [one for one in found if one is not None], newest

    def search(self, kind: str, parameters: Iterable[tuple[str, str]]) -> tuple[Search, Page]:
        known(kind)
        wanted = understood(kind, parameters, self._zone)
        with self._source(kind) as source:
            return wanted, page(wanted, source, self._zone)

    def update(self, kind: str, key: str, resource: Any, if_match: str = "", if_none: str = "") -> Json:
        with self._store.transaction() as shelf:
            return self._put(shelf, kind, key, resource, if_match, if_none)[0]

    def create(self, kind: str, resource: Any) -> Json:
        key = str(uuid.uuid4())
        with self._store.transaction() as shelf:
            given = {**resource, "id": key} if isinstance(resource, dict) else resource
            return self._put(shelf, kind, key, given, "", "*")[0]

    def transact(self, bundle: Any) -> Json:
        if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
            raise Refused(400, "structure", "a Bundle is expected")
        if bundle.get("type") != "transaction":
            raise Refused(400, "not-supported", "only transactions are supported")
        entries = bundle.get("entry", [])
        if not isinstance(entries, list):
            raise Refused(400, "structure", "Bundle.entry is a list")
        seen: set[str] = set()
        with self._store.transaction() as shelf:
            answers = [self._entry(shelf, entry, seen) for entry in entries]
        return {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}

    @contextmanager
    def _source(self, kind: str) -> Iterator[Source]:
        with self._store.view() as shelf:
            yield projections.source(kind, shelf) if kind in PROJECTED else shelf

    def _entry(self, shelf: Shelf, entry: Any, seen: set[str]) -> Json:
        request = entry.get("request") if isinstance(entry, dict) else None
        request = request if isinstance(request, dict) else {}
        kind, _, key = str(request.get("url", "")).partition("/")
        if request.get("method") != "PUT" or not key:
            raise Refused(400, "not-supported", "a transaction may only PUT Type/id")
        if f"{kind}/{key}" in seen:
            raise Refused(400, "invalid", "a transaction may name a resource only once")
        seen.add(f"{kind}/{key}")
        guards = str(request.get("ifMatch", "")), str(request.get("ifNoneMatch", ""))
        put, was_new = self._put(shelf, kind, key, entry.get("resource"), *guards)
        version = put["meta"]["versionId"]
        response = {
            "status": "201 Created" if was_new else "200 OK",
            "location": f"{kind}/{key}/_history/{version}",
            "etag": f'W/"{version}"',
            "lastModified": put["meta"]["lastUpdated"],
        }
        return {"response": response}

    def _put(
        self, shelf: Shelf, kind: str, key: str, resource: Any, if_match: str, if_none: str
    ) -> tuple[Json, bool]:
        stored(kind)
        _check(kind, key, resource)
        based_on = etag(if_match)
        if if_match and not based_on.isdigit():
            raise Refused(412, "conflict", "If-Match names no version of this server")
        if if_none not in ("", "*"):
            raise Refused(400, "not-supported", "If-None-Match of a write is * or nothing")
        was_new = shelf.current_version(kind, key) == 0
        try:
            put = shelf.write(
                resource,
                {},
                self._clock(),
                based_on=int(based_on[:18]) if based_on else None,
                only_new=if_none == "*",
            )
        except VersionConflict as conflict:
            raise Refused(412, "conflict", f"the current version is {conflict.current}") from None
        return put, was_new


def known(kind: str) -> None:
    if kind not in TYPES:
        raise Refused(404, "not-supported", "this endpoint does not serve this type")


def stored(kind: str) -> None:
    """Raises :class:`Refused` for a type that has no versions of its own here."""
    known(kind)
    if kind not in STORED:
        raise Refused(405, "not-supported", f"{kind} is made of what is stored; it is read and searched only")


def etag(text: str) -> str:
    """The version that an ETag names, "" if none."""
    found = _ETAG.fullmatch(text.strip())
    return found[1] if found else ""


def _check(kind: str, key: str, resource: Any) -> None:
    if not isinstance(resource, dict) or resource.get("resourceType") != kind:
        raise Refused(400, "invalid", f"a {kind} is expected")
    if not is_fhir_id(key) or resource.get("id") != key:
        raise Refused(400, "invalid", "the id in the body and in the URL must be the same FHIR id")
    if faults := r4_faults(resource):
        raise Refused(422, "structure", "; ".join(faults))
    if kind in _REQUIRED and resource.get("status") not in R4_CODES[_REQUIRED[kind]]:
        raise Refused(422, "code-invalid", f"{kind}.status is not a code of FHIR R4")
