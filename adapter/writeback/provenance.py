"""Provenance: which records, in which version, made the software write this.

R4 Provenance has no identifier, so its id carries the whole key: subject, fingerprint, and the version it was
planned against. A retry meets the same id; a later write gets a new one. ``target`` has no version: it is not
known before the write. Versions of the evidence stand twice, in the reference and in an extension beside it,
because HAPI strips them from references by default. Source: https://hl7.org/fhir/R4/provenance.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from adapter.model.decision import CriterionResult, Decision
from adapter.model.facts import Source
from adapter.model.monitoring import Monitoring
from adapter.model.resource import OWN_ANSWER
from adapter.writeback.identity import client_id, is_fhir_id, profile_url
from adapter.writeback.resources import Json, validated

EVIDENCE = profile_url("evidence-source")
# A server that checks references (HAPI-1094) would refuse one to what only we hold.
_KEPT_HERE = f"QuestionnaireResponse/{OWN_ANSWER}"
_LITERAL = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")


def evidence_of(decision: Decision) -> tuple[Source, ...]:
    """Every record the verdict rests on, inputs of computed values included, each once and sorted."""
    return records_of(decision.criteria)


def records_of(results: Iterable[CriterionResult]) -> tuple[Source, ...]:
    """That a type was completely fetched (``coverage/Condition``) is evidence too, but no record there."""
    used = [
        evidence
        for top in results
        for result in top.walk()
        for evidence in result.evidence
        if evidence.role == "used"
    ]
    sources = {source for evidence in used for source in (evidence.source, *evidence.derived_from)}
    return tuple(sorted(source for source in sources if _LITERAL.fullmatch(source.reference)))


def provenance(
    basis: Decision | Monitoring,
    targets: Iterable[str],
    *,
    device: str,
    activity: Literal["CREATE", "UPDATE"],
    base_version: str,
    recorded: datetime,
    records: Iterable[Source] | None = None,
) -> Json:
    """``targets`` are ``Type/id``; ``recorded`` must carry a zone; ``records`` are those of a decision unless
    given."""
    if records is None:
        records = evidence_of(basis) if isinstance(basis, Decision) else ()
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for source in records:
        grouped.setdefault((source.reference, source.version, source.sha256), []).append(source.path)
    operation = {"system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation", "code": activity}
    resource: Json = {
        "resourceType": "Provenance",
        "id": client_id("provenance", basis.protocol, basis.subject, basis.fingerprint, base_version),
        "meta": {"profile": [profile_url("TrialProvenance")]},
        "target": [{"reference": target} for target in targets],
        "recorded": recorded.isoformat(timespec="seconds"),
        "activity": {"coding": [operation]},
        "agent": [{"who": {"reference": device}}],
    }
    if grouped:
        resource["entity"] = [_entity(*key, paths) for key, paths in sorted(grouped.items())]
    return validated(resource, "TrialProvenance")


def _entity(reference: str, version: str, sha256: str, paths: list[str]) -> Json:
    parts: list[Json] = []
    if version:
        parts.append({"url": "version", "valueString": version})
    if sha256:
        parts.append({"url": "sha256", "valueString": sha256})
    parts += [{"url": "path", "valueString": path} for path in sorted(set(paths)) if path]
    what: Json = {"extension": [{"url": EVIDENCE, "extension": parts}]}
    if _LITERAL.fullmatch(reference) and not reference.startswith(_KEPT_HERE):
        # a version may be meta.lastUpdated where a server keeps no version ids; that is no _history
        what["reference"] = f"{reference}/_history/{version}" if is_fhir_id(version) else reference
    else:
        what["identifier"] = {"value": reference}
    return {"role": "source", "what": what}
