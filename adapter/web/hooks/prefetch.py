"""What a caller is asked to send along, and what of it came: resources as they are, and what is missing.

A key may be absent, null, an OperationOutcome or the first of several pages; each is something that did not
come whole. Nothing of that is ever read as absence. Source: CDS Hooks 2.0, "Prefetch template".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from adapter.consult import TYPES, Record
from adapter.model.coverage import Coverage
from adapter.model.resource import RawResource
from adapter.source.nominate import linked_patients, subjects_of
from adapter.source.questions import BY_PATIENT

STUDIES = "ResearchStudy"
_HERE = "{{context.patientId}}"
_NOT_SENT = "not sent"
_LINKED = "the record is linked to another one, which was not sent"


class _Mode(msgspec.Struct):
    mode: str = ""


class _Entry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw()
    search: _Mode = msgspec.field(default_factory=_Mode)


class _Link(msgspec.Struct):
    relation: str = ""


class _Sent(msgspec.Struct):
    """A Bundle or a resource."""

    resourceType: str = ""
    id: str = ""
    total: int | None = None
    link: list[Any] = []
    entry: list[_Entry] = []


class _Whose(msgspec.Struct):
    reference: str
    identifier: msgspec.Raw | None = None


class _Owned(msgspec.Struct):
    """What has to be known of a resource to tell whose it is, if it says so in the plainest way."""

    resourceType: str
    subject: _Whose | None = None
    patient: _Whose | None = None
    individual: _Whose | None = None
    beneficiary: _Whose | None = None
    contained: msgspec.Raw | None = None


_SENT = msgspec.json.Decoder(_Sent)
_OWNED = msgspec.json.Decoder(_Owned)
_ANY = msgspec.json.Decoder()


def templates(study: str) -> dict[str, str]:
    """By key; with all of them no request to the hospital is needed."""
    found = {key_of("Patient"): f"Patient/{_HERE}"}
    for kind, (parameter, *_) in BY_PATIENT.items():
        query = f"{kind}?{parameter}={'' if parameter == 'patient' else 'Patient/'}{_HERE}"
        more = f"&_include={kind}:medication" if kind.startswith("Medication") else ""
        found[key_of(kind)] = query + more
    return {**found, key_of(STUDIES): f"{STUDIES}?identifier={study}"}


def key_of(kind: str) -> str:
    return kind[0].lower() + kind[1:]


class Gathered:
    """What is at hand about one patient; :meth:`missing` says what to look for elsewhere."""

    def __init__(self, patient: str, as_of: date) -> None:
        self._patient, self._as_of = patient, as_of
        self._literal = f"Patient/{patient}"
        self._lines: dict[bytes, RawResource] = {}
        self._whole: set[str] = set()
        self._why: dict[str, str] = {}
        self._linked = False

    def take_prefetch(self, sent: Mapping[str, msgspec.Raw]) -> None:
        for kind in (*TYPES, STUDIES):
            raw = sent.get(key_of(kind))
            if raw is not None:
                self._take(kind, bytes(raw))

    def take(self, kind: str, lines: list[bytes], why: str = "") -> None:
        """Resources that were searched for, and why they are not all ("" if they are)."""
        for number, line in enumerate(lines):
            self._add(line, f"{kind}:{number}")
        self._settle(kind, why)

    def missing(self) -> tuple[str, ...]:
        return tuple(kind for kind in (*TYPES, STUDIES) if kind not in self._whole)

    @property
    def anything(self) -> bool:
        return bool(self._lines or self._whole)

    def record(self) -> Record:
        rows = []
        for kind in (*TYPES, STUDIES):
            why = "" if kind in self._whole else self._why.get(kind, _NOT_SENT)
            why = why or (_LINKED if self._linked and kind != STUDIES else "")
            end = None if why else self._as_of
            rows.append(Coverage(kind, not why, self._patient, None, end, why or "sent"))
        return Record(self._patient, tuple(self._lines.values()), tuple(rows))

    def _take(self, kind: str, body: bytes) -> None:
        if body.strip() == b"null":
            return
        try:
            sent = _SENT.decode(body)
        except (msgspec.MsgspecError, RecursionError):
            self._why[kind] = "sent, but no FHIR resource"
            return
        if sent.resourceType == kind and kind == "Patient":
            self._add(body, "Patient:0")
            self._settle(kind, "" if sent.id == self._patient else "another patient was sent")
        elif sent.resourceType == "Bundle" and kind != "Patient":
            self._settle(kind, self._bundle(kind, sent))
        elif sent.resourceType == "OperationOutcome":
            self._why[kind] = "the hospital's server answered with an error"
        else:
            self._why[kind] = "sent, but not what was asked for"

    def _bundle(self, kind: str, sent: _Sent) -> str:
        matches, why = 0, ""
        for number, entry in enumerate(sent.entry):
            line = bytes(entry.resource)
            found = self._add(line, f"{kind}:{number}")
            if not found:
                why = "an entry of what was sent cannot be read"
            elif found == "OperationOutcome":
                why = _outcome(line) or why
            else:
                matches += entry.search.mode in ("", "match") and found == kind
        if any(isinstance(link, dict) and link.get("relation") == "next" for link in sent.link):
            return "only the first page was sent"
        if sent.total is not None and matches < sent.total:
            return f"{matches} of {sent.total} were sent"
        return why

    def _settle(self, kind: str, why: str) -> None:
        if why:
            self._why[kind] = why
            self._whole.discard(kind)
        else:
            self._whole.add(kind)

    def _add(self, line: bytes, where: str) -> str:
        """Keep one resource, unless it is about somebody else; its type, "" if it cannot be read."""
        kind = self._plainly_own(line)
        if not kind:
            try:
                resource = _ANY.decode(line)
            except (msgspec.MsgspecError, RecursionError):
                return ""
            told = resource.get("resourceType") if isinstance(resource, dict) else None
            if not isinstance(told, str) or not told:
                return ""
            kind = told
            if not self._is_own(kind, resource):
                return kind
        if kind != "OperationOutcome":
            self._lines.setdefault(line, RawResource(line, where, kind))
        return kind

    def _plainly_own(self, line: bytes) -> str:
        """The type of a resource whose every subject is this patient, told without decoding the rest."""
        try:
            one = _OWNED.decode(line)
        except (msgspec.MsgspecError, RecursionError):
            return ""
        whose = [
            who for who in (one.subject, one.patient, one.individual, one.beneficiary) if who is not None
        ]
        plain = all(who.reference == self._literal and who.identifier is None for who in whose)
        return one.resourceType if whose and plain and one.contained is None else ""

    def _is_own(self, kind: str, resource: dict[str, Any]) -> bool:
        if kind == "Patient":
            if resource.get("id") != self._patient:
                return False
            self._linked = self._linked or any(True for _ in linked_patients(resource))
        elif kind in TYPES:
            ids, _ = subjects_of(resource)
            return not ids or self._patient in ids
        return True


def _outcome(line: bytes) -> str:
    issues = _ANY.decode(line).get("issue", ())
    severe = any(isinstance(one, dict) and one.get("severity") in ("error", "fatal") for one in issues)
    return "the hospital's server reports errors" if severe else ""
