"""Decisions for the write-back tests, written by hand as the evaluator would give them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from adapter.model.decision import CriterionResult, Decision, Evidence, Overall, Verdict
from adapter.model.facts import Source
from adapter.writeback.research_study import StudyArm, StudyReference

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
AS_OF = date(2026, 3, 1)
STUDY = StudyReference(
    "NCT03864250",
    "Tacrolimus with or without prednisone in idiopathic membranous nephropathy",
    (StudyArm("TAC", "Tacrolimus"), StudyArm("TACPRED", "Tacrolimus and prednisone")),
)


def source(reference: str = "Observation/protein", version: str = "1", path: str = "") -> Source:
    return Source(reference, version, path, sha256(f"{reference} {version}".encode()).hexdigest())


def used(what: Source) -> Evidence:
    return Evidence(what, "used", "urine_protein_24h", "2026-02-20", "9 g/24h", "9 g/d")


def decision(
    overall: str,
    subject: str = "p1",
    *,
    study: str = "NCT03864250",
    evidence: tuple[Source, ...] = (),
    review: bool = False,
    fingerprint: str = "",
    as_of: date = AS_OF,
) -> Decision:
    """``eligible``: both criteria pass; ``undetermined``: one unknown; ``ineligible``: protein too low."""
    sources = evidence or (source(),)
    inclusion = {"eligible": Verdict.MET, "undetermined": Verdict.UNKNOWN, "ineligible": Verdict.NOT_MET}
    flags = ("READING_DIFFERS",) if review else ()
    criteria = (
        CriterionResult(
            "INCL03A",
            "inclusion",
            inclusion[overall],
            "planted",
            flags,
            tuple(used(one) for one in sources),
            review=review,
        ),
        CriterionResult("EXCL01", "exclusion", Verdict.NOT_MET, "planted", evidence=(used(sources[0]),)),
    )
    name = f"{overall} {subject} {study} {as_of} {review} {[(s.reference, s.version) for s in sources]}"
    return Decision(
        subject,
        study,
        "1.0.0",
        as_of,
        Overall(overall),
        criteria,
        review,
        fingerprint=fingerprint or sha256(name.encode()).hexdigest(),
    )


def on_server(resource: dict[str, Any], version: str = "1", **changed: Any) -> dict[str, Any]:
    """The resource as a server gives it back, after someone may have changed it."""
    return {**resource, **changed, "meta": {**resource.get("meta", {}), "versionId": version}}
