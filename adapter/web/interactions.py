"""FHIR interactions on the adapter's own store, free of HTTP.

References are not checked against the hospital: patients live there. What is stored is valid R4 (by R4B's
models, and the required codes that those do not enforce). Source: https://hl7.org/fhir/R4/http.html.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from adapter import __version__
from adapter.store.resources import ResourceStore, Shelf, VersionConflict
from adapter.writeback.identity import is_fhir_id
from adapter.writeback.profile import R4_CODES
from adapter.writeback.resources import Json, r4_faults

Clock = Callable[[], datetime]

_REFERENCES = {
    "ResearchSubject": {"study": ("study",), "patient": ("individual",), "individual": ("individual",)},
    "Flag": {"patient": ("subject",), "subject": ("subject",)},
    "Provenance": {"target": ("target",)},
    "QuestionnaireResponse": {"patient": ("subject",), "subject": ("subject",)},
}
_TOKENS = {
    "ResearchStudy": ("status",),
    "ResearchSubject": ("status",),
    "Questionnaire": ("status", "url"),
    "QuestionnaireResponse": ("status", "questionnaire"),
}
_REQUIRED = {
    "ResearchSubject": "research-subject-status",
    "Flag": "flag-status",
    "ResearchStudy": "research-study-status",
}
TYPES = (
    "Device",
    "Flag",
    "Provenance",
    "Questionnaire",
    "QuestionnaireResponse",
    "ResearchStudy",
    "ResearchSubject",
)
_CONTROLS = frozenset({"_count", "_format", "_sort", "_total"})
_ETAG = re.compile(r'(?:W/)?"?(\d+)"?')
_RELATIVE = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/.*)?")


class Refused(Exception):
    """An answer other than success: HTTP status, FHIR issue code, and words that quote no content."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.outcome: Json = {
            "resourceType": "OperationOutcome",
            "issue": [{"severity": "error", "code": code, "diagnostics": text}],
        }


class Endpoint:
    """FHIR interactions on a store, free of HTTP; every method is one database transaction."""

    def __init__(self, store: ResourceStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def read(self, kind: str, key: str, version: str = "") -> Json:
        _known(kind)
        if version and not version.isdigit():
            raise Refused(404, "not-found", "no such version")
        with self._store.view() as shelf:
            found = shelf.read(kind, key, int(version) if version else None)
        if found is None:
            raise Refused(404, "not-found", f"no {kind} with this id or version")
        return found

    def search(self, kind: str, parameters: Iterable[tuple[str, str]]) -> list[Json]:
        _known(kind)
        wanted: dict[str, set[str]] = {}
        for name, value in parameters:
            if name in _CONTROLS:
                continue
            if name not in search_parameters(kind):
                raise Refused(400, "not-supported", f"{kind} has no search parameter of this name here")
            wanted[name] = {_search_value(kind, name, one) for one in value.split(",")}
        with self._store.view() as shelf:
            return shelf.search(kind, wanted)

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
        seen: set[str] = set()
        with self._store.transaction() as shelf:
            answers = [self._entry(shelf, entry, seen) for entry in bundle.get("entry", [])]
        return {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}

    def _entry(self, shelf: Shelf, entry: Any, seen: set[str]) -> Json:
        request = entry.get("request", {}) if isinstance(entry, dict) else {}
        kind, _, key = str(request.get("url", "")).partition("/")
        if request.get("method") != "PUT" or not key:
            raise Refused(400, "not-supported", "a transaction may only PUT Type/id")
        if f"{kind}/{key}" in seen:
            raise Refused(400, "invalid", "a transaction may name a resource only once")
        seen.add(f"{kind}/{key}")
        guards = str(request.get("ifMatch", "")), str(request.get("ifNoneMatch", ""))
        stored, was_new = self._put(shelf, kind, key, entry.get("resource"), *guards)
        version = stored["meta"]["versionId"]
        response = {
            "status": "201 Created" if was_new else "200 OK",
            "location": f"{kind}/{key}/_history/{version}",
            "etag": f'W/"{version}"',
            "lastModified": stored["meta"]["lastUpdated"],
        }
        return {"response": response}

    def _put(
        self, shelf: Shelf, kind: str, key: str, resource: Any, if_match: str, if_none: str
    ) -> tuple[Json, bool]:
        _known(kind)
        _check(kind, key, resource)
        based_on = _ETAG.fullmatch(if_match)
        if if_match and based_on is None:
            raise Refused(412, "conflict", "If-Match names no version of this server")
        was_new = shelf.current_version(kind, key) == 0
        try:
            stored = shelf.write(
                resource,
                _keys(resource),
                self._clock(),
                based_on=int(based_on[1]) if based_on else None,
                only_new=if_none == "*",
            )
        except VersionConflict as conflict:
            raise Refused(412, "conflict", f"the current version is {conflict.current}") from None
        return stored, was_new


def search_parameters(kind: str) -> tuple[str, ...]:
    identified = () if kind == "Provenance" else ("identifier",)
    return ("_id", *identified, *_REFERENCES.get(kind, {}), *_TOKENS.get(kind, ()))


def capability_statement(now: datetime) -> Json:
    interactions = [{"code": code} for code in ("read", "vread", "update", "create", "search-type")]
    resources = [
        {
            "type": kind,
            "interaction": interactions,
            "versioning": "versioned-update",
            "updateCreate": True,
            "searchParam": [
                {"name": name, "type": "reference" if name in _REFERENCES.get(kind, {}) else "token"}
                for name in search_parameters(kind)
            ],
        }
        for kind in TYPES
    ]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": now.date().isoformat(),
        "kind": "instance",
        "software": {"name": "trial-fhir-adapter", "version": __version__},
        "implementation": {"description": "Trial resources of the adapter"},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "resource": resources, "interaction": [{"code": "transaction"}]}],
    }


def _known(kind: str) -> None:
    if kind not in TYPES:
        raise Refused(404, "not-supported", "this endpoint does not serve this type")


def _check(kind: str, key: str, resource: Any) -> None:
    if not isinstance(resource, dict) or resource.get("resourceType") != kind:
        raise Refused(400, "invalid", f"a {kind} is expected")
    if not is_fhir_id(key) or resource.get("id") != key:
        raise Refused(400, "invalid", "the id in the body and in the URL must be the same FHIR id")
    if faults := r4_faults(resource):
        raise Refused(422, "structure", "; ".join(faults))
    if kind in _REQUIRED and resource.get("status") not in R4_CODES[_REQUIRED[kind]]:
        raise Refused(422, "code-invalid", f"{kind}.status is not a code of FHIR R4")


def _keys(resource: Json) -> dict[str, set[str]]:
    kind = resource["resourceType"]
    keys: dict[str, set[str]] = {name: {str(resource.get(name, ""))} for name in _TOKENS.get(kind, ())}
    for name, elements in _REFERENCES.get(kind, {}).items():
        keys[name] = {_relative(r) for element in elements for r in _references(resource.get(element))}
    found = resource.get("identifier", [])
    identifiers = found if isinstance(found, list) else [found]
    values = [(one.get("system", ""), one.get("value", "")) for one in identifiers]
    keys["identifier"] = {form for system, value in values for form in (value, f"{system}|{value}")}
    return {name: values - {""} for name, values in keys.items()}


def _references(element: Any) -> list[str]:
    several = element if isinstance(element, list) else [element or {}]
    return [str(one.get("reference", "")) for one in several]


def _relative(reference: str) -> str:
    """``Type/id`` of any spelling of a reference; whatever else it is stays as it is."""
    found = _RELATIVE.fullmatch(reference)
    return found[1] if found else reference


def _search_value(kind: str, name: str, value: str) -> str:
    if name not in _REFERENCES.get(kind, {}):
        return value
    if "/" in value:
        return _relative(value)
    # a bare id names the one type the parameter allows
    return f"ResearchStudy/{value}" if name == "study" else f"Patient/{value}"
