"""What a crawl asks a FHIR R4 server: by which search parameters each type is found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapter.model.candidates import CandidateQuery

# R4 search parameters by which each type is found for one patient, in order of preference.
BY_PATIENT: dict[str, tuple[str, ...]] = {
    "AdverseEvent": ("subject",),
    "AllergyIntolerance": ("patient",),
    "Condition": ("patient", "subject"),
    "Consent": ("patient",),
    "DiagnosticReport": ("patient", "subject"),
    "Encounter": ("patient", "subject"),
    "Immunization": ("patient",),
    "MedicationAdministration": ("patient", "subject"),
    "MedicationDispense": ("patient", "subject"),
    "MedicationRequest": ("patient", "subject"),
    "MedicationStatement": ("patient", "subject"),
    "Observation": ("patient", "subject"),
    "Procedure": ("patient", "subject"),
    "QuestionnaireResponse": ("patient", "subject"),
    "ResearchSubject": ("individual", "patient"),
    "Specimen": ("patient", "subject"),
}
# R4 search parameters that hold the code by which a type nominates its subject.
BY_CODE = {
    "Condition": "code",
    "DiagnosticReport": "code",
    "Encounter": "reason-code",
    "Observation": "code",
    "Procedure": "code",
}
CODES_PER_SEARCH = 40


def asked_of(
    server: str, query: CandidateQuery, unanswered: Iterable[str], scopes: Mapping[str, str]
) -> dict[str, str]:
    """What a manifest says was asked: the server, what nominates, and which types of each candidate.

    ``unanswered`` are the searches for candidates that were refused or not answered to the end, ``scopes``
    those asked for and granted, if the server says.
    """
    return {
        "kind": "rest",
        "server": server,
        "codes": ",".join(sorted(query.codes)),
        "texts": ",".join(sorted(query.texts)),
        "studies": ",".join(sorted(query.studies)),
        "types": ",".join(("Patient", *BY_PATIENT)),
        "unanswered": ",".join(unanswered),
        **scopes,
    }
