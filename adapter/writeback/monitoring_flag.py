"""Flags about people on the study: a safety rule holds, an exit is proposed, a status is out of order.

One Flag stands for one alert: a criterion and the records it was raised on. It is updated while it is
active, closed (``inactive``, with an end) when the criterion is known not to hold any more, and never
deleted. What a person closed stays closed; records that were not known then raise a Flag of their own beside
it. An exit is a proposal: the status a person would set stands in ``proposedStatus``, and nobody is moved.
Sources: https://hl7.org/fhir/R4/flag.html, https://hl7.org/fhir/R4/extension-flag-priority.html.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Literal

import msgspec

from adapter.model.decision import CriterionResult, Verdict
from adapter.model.facts import Source
from adapter.model.monitoring import Monitoring
from adapter.writeback import status as statuses
from adapter.writeback.flag import CATEGORY, OUTSIDE_TABLE
from adapter.writeback.identity import client_id, code_system, identifier, profile_url
from adapter.writeback.provenance import records_of
from adapter.writeback.resources import Json, encode, validated

MonitoringFlagKind = Literal["safety", "exit-proposed", "status-conflict"]
MONITORING_KINDS: tuple[MonitoringFlagKind, ...] = ("safety", "exit-proposed", "status-conflict")
Severity = Literal["low", "medium", "high"]
BASIS = profile_url("monitoring-basis")
PRIORITY = "http://hl7.org/fhir/StructureDefinition/flag-priority"
STATUS_RULE = "ResearchSubject.status"
LEFT = "off-study"
_PRIORITIES: dict[Severity, tuple[str, str]] = {
    "low": ("PL", "Low priority"),
    "medium": ("PM", "Medium priority"),
    "high": ("PH", "High priority"),
}


class ProtocolLine(msgspec.Struct, frozen=True):
    """What the protocol says in the words of its author, where it says so, and how urgent a breach is."""

    text: str
    source: str = ""
    severity: Severity = "medium"


class Alert(msgspec.Struct, frozen=True):
    """One thing to tell the team; ``evidence`` are versioned references, ``basis`` a hash of the content."""

    kind: MonitoringFlagKind
    criterion: str
    line: ProtocolLine
    flags: tuple[str, ...] = ()
    records: tuple[Source, ...] = ()
    proposed_status: str = ""
    person_status: str = ""

    @property
    def evidence(self) -> tuple[str, ...]:
        return tuple(sorted({_reference(source) for source in self.records} | {self.person_status} - {""}))

    @property
    def basis(self) -> str:
        content = [self.kind, self.criterion, self.line.severity, self.flags, self.evidence]
        return hashlib.sha256(encode({"basis": content})).hexdigest()


Place = tuple[str, str]  # kind and criterion: what one series of Flags is about
STATUS_PLACE: Place = ("status-conflict", STATUS_RULE)


def alerts(row: Monitoring, lines: Mapping[str, ProtocolLine], status: str) -> dict[Place, Alert]:
    """What has to be flagged now. Exits are proposed until a person recorded that the subject left."""
    found = {
        ("safety", result.id): _alert("safety", result, lines)
        for result in row.safety
        if result.verdict is Verdict.MET
    }
    if status != LEFT:
        found |= {
            ("exit-proposed", result.id): _alert("exit-proposed", result, lines)
            for result in row.exits
            if result.verdict is Verdict.MET
        }
    return found


def settled(row: Monitoring, status: str) -> dict[Place, tuple[Source, ...]]:
    """What is known not to hold, so that its Flags are closed, with the records that say so; an unknown
    closes nothing."""
    over = {("safety", result.id): result for result in row.safety if result.verdict is Verdict.NOT_MET}
    for result in row.exits:
        if result.verdict is Verdict.NOT_MET or status == LEFT:
            over[("exit-proposed", result.id)] = result
    return {place: records_of((result,)) for place, result in over.items()}


def status_conflict(row: Monitoring, status: str, last_owned: str) -> Alert | None:
    """A person's move that the table does not know: left as it is, and shown."""
    if not status:
        return None
    stays = statuses.stage_of(status) == "registered" or status == LEFT
    moved = last_owned in ("", status) or statuses.may("person", last_owned, status)
    if row.randomised is None or (stays and moved):
        return None
    line = ProtocolLine(f"The status {status} is outside the table of moves", severity="low")
    return Alert("status-conflict", STATUS_RULE, line, (OUTSIDE_TABLE,), person_status=status)


def _alert(kind: MonitoringFlagKind, result: CriterionResult, lines: Mapping[str, ProtocolLine]) -> Alert:
    flags = tuple(sorted({flag for part in result.walk() for flag in part.flags}))
    return Alert(
        kind,
        result.id,
        lines.get(result.id, ProtocolLine(result.id)),
        flags,
        records_of((result,)),
        LEFT if kind == "exit-proposed" else "",
    )


def monitoring_flag_id(row: Monitoring, alert: Alert) -> str:
    """The same alert on the same records always has the same id."""
    key = (row.protocol, row.subject, alert.criterion, *alert.evidence)
    return client_id(f"flag-{alert.kind}", *key)


def raised_flag(row: Monitoring, alert: Alert, device: str, found: Json | None = None) -> Json:
    """The active Flag; ``found`` is the one it continues, which keeps its id and the day it was raised."""
    key = str(found["id"]) if found else monitoring_flag_id(row, alert)
    raised = row.as_of.isoformat()
    if found is not None and found.get("status") == "active":
        raised = found.get("period", {}).get("start", raised)
    others = [part for part in (found or {}).get("extension", []) if part.get("url") not in (BASIS, PRIORITY)]
    own: Json = {
        "resourceType": "Flag",
        "id": key,
        "extension": [_basis(row, alert), _priority(alert.line.severity), *others],
        "identifier": [identifier("flag", key)],
        "status": "active",
        "category": [CATEGORY],
        "code": {
            "coding": [{"system": code_system("monitoring-flag"), "code": alert.kind}],
            "text": f"{row.protocol} {alert.criterion}: {alert.line.text}",
        },
        "subject": {"reference": f"Patient/{row.subject}"},
        "period": {"start": raised},
        "author": {"reference": device},
    }
    kept = {"meta": {"profile": [profile_url("TrialMonitoringFlag")]}, **(found or {})}
    return validated({**kept, **own}, "TrialMonitoringFlag")


def resolved_flag(found: Json, on: date) -> Json:
    period = {**found.get("period", {}), "end": on.isoformat()}
    return validated({**found, "status": "inactive", "period": period}, "TrialMonitoringFlag")


def place_of(flag: Json, study: str) -> Place | None:
    """What one of our Flags about this study stands for; None for any other Flag."""
    parts = list(_parts(flag))
    named = {url: value for url, value in parts if url in ("study", "criterion")}
    codes = {coding.get("code") for coding in flag.get("code", {}).get("coding", [])}
    kind = next((kind for kind in MONITORING_KINDS if kind in codes), None)
    if kind is None or named.get("study") != study or "criterion" not in named:
        return None
    return kind, named["criterion"]


def basis_of(flag: Json) -> str:
    return next((value for url, value in _parts(flag) if url == "basis"), "")


def evidence_on(flags: Iterable[Json]) -> set[str]:
    return {value for flag in flags for url, value in _parts(flag) if url in ("evidence", "personStatus")}


def _parts(flag: Json) -> Iterable[tuple[str, str]]:
    for extension in flag.get("extension", []):
        if extension.get("url") == BASIS:
            for part in extension.get("extension", []):
                value = next((str(part[name]) for name in part if name.startswith("value")), "")
                yield str(part.get("url", "")), value


def _basis(row: Monitoring, alert: Alert) -> Json:
    parts: list[Json] = [
        {"url": "study", "valueString": row.protocol},
        {"url": "protocolVersion", "valueString": row.protocol_version},
        {"url": "criterion", "valueString": alert.criterion},
        {"url": "severity", "valueCode": alert.line.severity},
        {"url": "basis", "valueString": alert.basis},
    ]
    if alert.line.source:
        parts.append({"url": "protocolLine", "valueString": alert.line.source})
    parts += [{"url": "flag", "valueCode": code} for code in alert.flags]
    parts += [{"url": "evidence", "valueString": _reference(source)} for source in _each_once(alert.records)]
    if alert.proposed_status:
        parts.append({"url": "proposedStatus", "valueCode": alert.proposed_status})
    if alert.person_status:
        parts.append({"url": "personStatus", "valueCode": alert.person_status})
    return {"url": BASIS, "extension": parts}


def _priority(severity: Severity) -> Json:
    code, display = _PRIORITIES[severity]
    coding = {"system": "http://hl7.org/fhir/flag-priority-code", "code": code, "display": display}
    return {"url": PRIORITY, "valueCodeableConcept": {"coding": [coding]}}


def _each_once(records: Iterable[Source]) -> list[Source]:
    return list({_reference(source): source for source in sorted(records)}.values())


def _reference(source: Source) -> str:
    return f"{source.reference}/_history/{source.version}" if source.version else source.reference
