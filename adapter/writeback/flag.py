"""Flags: when a person should look, and never a word about why that could identify someone.

Three kinds: the record meets every criterion (``candidate``); the verdict reads differently in another
reading or a rule asks for an eye (``review``); a person's status and the verdict cannot both be right
(``contradiction``). A Flag is closed (``inactive``, with an end), never deleted. One that a person closed
stays closed until its basis changes. Source: https://hl7.org/fhir/R4/flag.html.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Literal

import msgspec

from adapter.model.decision import CriterionResult, Decision, Overall
from adapter.writeback.identity import client_id, code_system, identifier, profile_url
from adapter.writeback.resources import Json, encode, validated
from adapter.writeback.status import stage_of

FlagKind = Literal["candidate", "review", "contradiction"]
KINDS: tuple[FlagKind, ...] = ("candidate", "review", "contradiction")
BASIS = profile_url("flag-basis")
READS_DIFFERENTLY = "READING_DIFFERS"
OUTSIDE_TABLE = "OUTSIDE_TABLE"
CATEGORY = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/flag-category",
            "code": "research",
            "display": "Research",
        }
    ]
}
_TEXTS: dict[FlagKind, str] = {
    "candidate": "May be eligible, please review",
    "review": "Please review before the verdict is accepted",
    "contradiction": "The record contradicts the recorded status",
}


class Concern(msgspec.Struct, frozen=True):
    """One reason to flag: the criteria and flags concerned, and a hash of them with their evidence.

    ``basis`` leaves the as-of date out, so that a Flag is not raised again just because a day has passed.
    """

    kind: FlagKind
    criteria: tuple[str, ...]
    flags: tuple[str, ...]
    person_status: str
    basis: str


def concerns(
    decision: Decision, status: str, contradicted: str = "", outside_table: bool = False
) -> dict[FlagKind, Concern]:
    """What to flag while the subject has ``status``; ``contradicted`` is the person's status that the verdict
    contradicts, or "". Once a person has begun to screen, nobody need be told of a candidate; once the
    subject is registered or gone, the verdict of a screening is nobody's concern any more. A person's move
    that the table does not know is a contradiction at any time (``outside_table``).
    """
    stage = stage_of(status)
    if outside_table:
        return {"contradiction": _concern("contradiction", decision, [], status, (OUTSIDE_TABLE,))}
    if stage in ("registered", "over"):
        return {}
    leaves = [result for top in decision.criteria for result in top.walk()]
    doubtful = [r for r in leaves if r.review or READS_DIFFERENTLY in r.flags]
    failing = [r for r in leaves if r.verdict.value == ("met" if r.kind == "exclusion" else "not_met")]
    found: dict[FlagKind, Concern] = {}
    if decision.overall is Overall.ELIGIBLE and not contradicted and stage == "proposed":
        found["candidate"] = _concern("candidate", decision, [])
    if doubtful or decision.review:
        found["review"] = _concern("review", decision, doubtful)
    if contradicted:
        found["contradiction"] = _concern("contradiction", decision, failing, contradicted)
    return found


def _concern(
    kind: FlagKind,
    decision: Decision,
    results: list[CriterionResult],
    person_status: str = "",
    more_flags: tuple[str, ...] = (),
) -> Concern:
    rests_on = results or [result for top in decision.criteria for result in top.walk()]
    evidence = {
        (e.source.reference, e.source.version, e.source.sha256)
        for result in rests_on
        for e in result.evidence
        if e.role == "used"
    }
    criteria = tuple(sorted({result.id for result in results}))
    flags = tuple(sorted({*more_flags, *(flag for result in results for flag in result.flags)}))
    content = [kind, decision.overall.value, criteria, flags, person_status, sorted(evidence)]
    basis = hashlib.sha256(encode({"basis": content})).hexdigest()
    return Concern(kind, criteria, flags, person_status, basis)


def flag_id(decision: Decision, kind: FlagKind) -> str:
    """One Flag per study, subject and kind, raised and closed over time."""
    return client_id(f"flag-{kind}", decision.protocol, decision.subject)


def active_flag(decision: Decision, concern: Concern, device: str, found: Json | None) -> Json:
    """The Flag as it should stand now. An active Flag keeps the day it was raised."""
    key = flag_id(decision, concern.kind)
    raised = decision.as_of.isoformat()
    if found is not None and found.get("status") == "active":
        raised = found.get("period", {}).get("start", raised)
    own: Json = {
        "resourceType": "Flag",
        "id": key,
        "extension": [_basis(decision, concern), *_foreign_extensions(found)],
        "identifier": [identifier("flag", key)],
        "status": "active",
        "category": [CATEGORY],
        "code": {
            "coding": [{"system": code_system("trial-flag"), "code": concern.kind}],
            "text": f"{decision.protocol}: {_TEXTS[concern.kind]}",
        },
        "subject": {"reference": f"Patient/{decision.subject}"},
        "period": {"start": raised},
        "author": {"reference": device},
    }
    kept = {"meta": {"profile": [profile_url("TrialFlag")]}, **(found or {})}
    return validated({**kept, **own}, "TrialFlag")


def closed_flag(found: Json, on: date) -> Json:
    period = {**found.get("period", {}), "end": on.isoformat()}
    return validated({**found, "status": "inactive", "period": period}, "TrialFlag")


def basis_of(flag: Json) -> str:
    return next((part.get("valueString", "") for part in _parts(flag) if part.get("url") == "basis"), "")


def tells_of_move(flag: Json, status: str) -> bool:
    """Whether this active Flag says that a person moved the subject to ``status`` past the table."""
    said = {part.get("valueCode") for part in _parts(flag) if part.get("url") in ("flag", "personStatus")}
    return flag.get("status") == "active" and {OUTSIDE_TABLE, status} <= said


def _parts(flag: Json) -> list[Json]:
    extensions = [one for one in flag.get("extension", []) if one.get("url") == BASIS]
    return [part for one in extensions[:1] for part in one.get("extension", [])]


def _basis(decision: Decision, concern: Concern) -> Json:
    parts: list[Json] = [
        {"url": "study", "valueString": decision.protocol},
        {"url": "verdict", "valueCode": decision.overall.value},
        {"url": "basis", "valueString": concern.basis},
    ]
    parts += [{"url": "criterion", "valueCode": code} for code in concern.criteria]
    parts += [{"url": "flag", "valueCode": code} for code in concern.flags]
    if concern.person_status:
        parts.append({"url": "personStatus", "valueCode": concern.person_status})
    return {"url": BASIS, "extension": parts}


def _foreign_extensions(found: Json | None) -> list[Json]:
    return [part for part in (found or {}).get("extension", []) if part.get("url") != BASIS]
