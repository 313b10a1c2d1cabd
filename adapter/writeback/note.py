"""What a lower rung tells: one note about one person, the same content whatever resource carries it.

A note says in words for a person, and in codes for a machine, what the record shows and on which records
that rests. It always says that it is a proposal of software. It names nobody and repeats no values.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Literal

import msgspec

from adapter import __version__
from adapter.model.decision import CriterionResult, Decision
from adapter.model.facts import Source
from adapter.model.monitoring import Monitoring
from adapter.writeback import status as statuses
from adapter.writeback.identity import code_system, identifier_system, profile_url
from adapter.writeback.monitoring_flag import Alert, ProtocolLine, alerts
from adapter.writeback.provenance import evidence_of
from adapter.writeback.research_study import SOFTWARE
from adapter.writeback.research_subject import screening_verdict
from adapter.writeback.resources import Json, encode

Purpose = Literal["screening", "monitoring"]
NOTE = profile_url("trial-note")
SYSTEM = identifier_system("note")
PROPOSAL = "Proposal of software, not the decision of a person. Please review."
AUTHOR = {"display": f"{SOFTWARE} {__version__} (software)"}
_TITLES: dict[Purpose, str] = {
    "screening": "eligibility screening of the record",
    "monitoring": "alerts about a person on the study",
}
_SCREENING_KINDS = ("inclusion", "exclusion")


class Note(msgspec.Struct, frozen=True):
    """``basis`` is a hash of what the note says, without the day: the same findings on the next day are no
    news. ``counts`` are criteria by verdict, ``evidence`` references with versions, ``safety`` the criteria
    of standing alerts."""

    purpose: Purpose
    study: str
    subject: str
    protocol_version: str
    as_of: date
    fingerprint: str
    text: str
    basis: str
    verdict: str = ""
    proposed_status: str = ""
    counts: tuple[tuple[str, int], ...] = ()
    evidence: tuple[str, ...] = ()
    safety: tuple[str, ...] = ()
    coded: Json | None = None

    @property
    def title(self) -> str:
        return f"{self.study}: {_TITLES[self.purpose]}"

    @property
    def concept(self) -> Json:
        return {
            "coding": [{"system": code_system("trial-note"), "code": self.purpose}],
            "text": self.title,
        }

    def references(self) -> list[Json]:
        """The evidence as references with the version in words: servers strip versions from references."""
        return [
            {"reference": reference, **({"display": f"version {version}"} if version else {})}
            for reference, _, version in (one.partition("/_history/") for one in self.evidence)
        ]

    def extensions(self, supersedes: str = "") -> list[Json]:
        parts: list[Json] = [
            {"url": "purpose", "valueCode": self.purpose},
            {"url": "study", "valueString": self.study},
            {"url": "protocolVersion", "valueString": self.protocol_version},
            {"url": "asOf", "valueDate": self.as_of.isoformat()},
            {"url": "fingerprint", "valueString": self.fingerprint},
            {"url": "basis", "valueString": self.basis},
        ]
        if self.proposed_status:
            parts.append({"url": "proposedStatus", "valueCode": self.proposed_status})
        parts += [{"url": name, "valueInteger": number} for name, number in self.counts]
        parts += [{"url": "evidence", "valueString": one} for one in self.evidence]
        parts += [{"url": "safety", "valueCode": one} for one in self.safety]
        if supersedes:
            parts.append({"url": "supersedes", "valueString": supersedes})
        return [{"url": NOTE, "extension": parts}, *([self.coded] if self.coded else [])]


def screening_note(decision: Decision, title: str, person_status: str = "") -> Note:
    """``person_status`` is the status that people gave the subject where the server shows it, or ""."""
    results = [one for top in decision.criteria for one in top.walk() if one.kind in _SCREENING_KINDS]
    tops = [one for one in decision.criteria if one.kind in _SCREENING_KINDS]
    proposed = statuses.PROPOSALS[decision.overall]
    evidence = tuple(sorted({_reference(one) for one in evidence_of(decision)}))
    lines = [
        PROPOSAL,
        f"Study {decision.protocol}, {title}; protocol version {decision.protocol_version}; "
        f"as of {decision.as_of.isoformat()}.",
        f"What the record shows: {decision.overall.value}. Proposed status: {proposed}.",
        *([f"Status recorded by people: {person_status}; it stays as it is."] if person_status else []),
        *(_sentence(kind, tops) for kind in _SCREENING_KINDS),
        *_remarks(results),
        *_listed("Records this rests on", evidence),
    ]
    said = [(one.id, one.verdict.value, sorted(set(one.flags)), one.review) for one in results]
    content = [decision.overall.value, proposed, person_status, said, list(evidence)]
    counted = Counter(one.verdict.value for one in tops)
    return Note(
        "screening",
        decision.protocol,
        decision.subject,
        decision.protocol_version,
        decision.as_of,
        decision.fingerprint,
        "\n".join(lines),
        _hash(content),
        decision.overall.value,
        proposed,
        (("met", counted["met"]), ("notMet", counted["not_met"]), ("unknown", counted["unknown"])),
        evidence,
        coded=screening_verdict(decision),
    )


def monitoring_note(row: Monitoring, lines: Mapping[str, ProtocolLine], status: str) -> Note:
    """Standing safety rules and proposed exits of someone on the study, who has ``status`` there."""
    standing = [alert for _, alert in sorted(alerts(row, lines, status).items())]
    evidence = tuple(sorted({reference for alert in standing for reference in alert.evidence}))
    text = [
        PROPOSAL,
        f"Study {row.protocol}, protocol version {row.protocol_version}; as of {row.as_of.isoformat()}.",
        *(_alert(alert) for alert in standing),
        *([] if standing else ["No safety rule and no exit criterion is known to hold now."]),
        *_listed("Records this rests on", evidence),
    ]
    proposed = next((alert.proposed_status for alert in standing if alert.proposed_status), "")
    return Note(
        "monitoring",
        row.protocol,
        row.subject,
        row.protocol_version,
        row.as_of,
        row.fingerprint,
        "\n".join(text),
        _hash(sorted(alert.basis for alert in standing)),
        ", ".join(alert.criterion for alert in standing),
        proposed,
        evidence=evidence,
        safety=tuple(sorted({alert.criterion for alert in standing})),
    )


def _sentence(kind: str, tops: list[CriterionResult]) -> str:
    counted = Counter(one.verdict.value for one in tops if one.kind == kind)
    words = ("met", "not met") if kind == "inclusion" else ("present", "absent")
    named = [
        f"{counted['met']} {words[0]}",
        f"{counted['not_met']} {words[1]}",
        f"{counted['unknown']} unknown",
    ]
    return f"{kind.capitalize()} criteria: {', '.join(named)}."


def _remarks(results: list[CriterionResult]) -> list[str]:
    failing = [r.id for r in results if r.verdict.value == ("met" if r.kind == "exclusion" else "not_met")]
    unknown = [r.id for r in results if r.verdict.value == "unknown"]
    review = [f"{r.id} ({', '.join(sorted(set(r.flags)))})" if r.flags else r.id for r in results if r.review]
    named = (("Against inclusion", failing), ("Unknown", unknown), ("A person should look at", review))
    return [f"{words}: {', '.join(found)}." for words, found in named if found]


def _alert(alert: Alert) -> str:
    kind = "Exit proposed" if alert.kind == "exit-proposed" else "Safety"
    proposed = f" A person may set the status {alert.proposed_status}." if alert.proposed_status else ""
    return f"{kind}, {alert.line.severity}: {alert.criterion}, {alert.line.text}.{proposed}"


def _listed(words: str, found: tuple[str, ...]) -> list[str]:
    named = [one.replace("/_history/", " version ") for one in found]
    return [f"{words}: {'; '.join(named)}."] if named else []


def _reference(source: Source) -> str:
    return f"{source.reference}/_history/{source.version}" if source.version else source.reference


def _hash(content: object) -> str:
    return hashlib.sha256(encode({"basis": content})).hexdigest()
