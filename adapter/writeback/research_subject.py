"""ResearchSubject: the status people own, and beside it the verdict of the system.

Source: https://hl7.org/fhir/R4/researchsubject.html; our profile TrialResearchSubject and its extension
screening-verdict in ``fhir_profiles/``.
"""

from __future__ import annotations

from adapter.model.decision import CriterionResult, Decision
from adapter.writeback.identity import client_id, identifier, profile_url
from adapter.writeback.resources import Json, validated

VERDICT = profile_url("screening-verdict")
_SCREENING_KINDS = ("inclusion", "exclusion")


def screening_verdict(decision: Decision) -> Json:
    """The decision in codes only: no values, no texts, nothing that names a person."""
    criteria = [
        result for top in decision.criteria for result in top.walk() if result.kind in _SCREENING_KINDS
    ]
    parts: list[Json] = [
        {"url": "verdict", "valueCode": decision.overall.value},
        {"url": "asOf", "valueDate": decision.as_of.isoformat()},
        {"url": "protocolVersion", "valueString": decision.protocol_version},
        {"url": "fingerprint", "valueString": decision.fingerprint},
        {"url": "review", "valueBoolean": decision.review},
    ]
    return {"url": VERDICT, "extension": parts + [_criterion(result) for result in criteria]}


def _criterion(result: CriterionResult) -> Json:
    parts: list[Json] = [
        {"url": "id", "valueCode": result.id},
        {"url": "verdict", "valueCode": result.verdict.value},
    ]
    parts += [{"url": "flag", "valueCode": flag} for flag in sorted(set(result.flags))]
    if result.review:
        parts.append({"url": "review", "valueBoolean": True})
    return {"url": "criterion", "extension": parts}


def new_subject(decision: Decision, status: str, study: str) -> Json:
    """``study`` is the reference of the ResearchStudy on this server."""
    key = client_id("subject", decision.protocol, decision.subject)
    return validated(
        {
            "resourceType": "ResearchSubject",
            "id": key,
            "meta": {"profile": [profile_url("TrialResearchSubject")]},
            "extension": [screening_verdict(decision)],
            "identifier": [identifier("research-subject", key)],
            "status": status,
            "study": {"reference": study},
            "individual": {"reference": f"Patient/{decision.subject}"},
        },
        "TrialResearchSubject",
    )


def with_verdict(resource: Json, decision: Decision, status: str) -> Json:
    """The same resource with our extension replaced and this status; all else as it was found."""
    others = [part for part in resource.get("extension", []) if part.get("url") != VERDICT]
    return validated(
        {**resource, "extension": [*others, screening_verdict(decision)], "status": status},
        "TrialResearchSubject" if resource.get("identifier") else "",
    )


def fingerprint_of(resource: Json) -> str:
    """The fingerprint in our extension, "" if we never wrote there."""
    for extension in resource.get("extension", []):
        if extension.get("url") == VERDICT:
            parts = {part.get("url"): part for part in extension.get("extension", [])}
            return str(parts.get("fingerprint", {}).get("valueString", ""))
    return ""
