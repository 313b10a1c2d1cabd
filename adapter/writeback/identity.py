"""Names that come out the same on every run: canonical URLs, identifiers and client-assigned ids.

The same study, subject and kind always give the same id, so a retry, a second run or a second machine
updates one resource and never makes two. Ids are FHIR ids (``[A-Za-z0-9\\-.]{1,64}``) and begin with a
letter, because HAPI refuses purely numeric ones (HAPI-0960).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

BASE = "https://trial-fhir-adapter.org/fhir"
CLINICAL_TRIALS_GOV = "https://clinicaltrials.gov"

_FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_PATIENT = re.compile(r"(?P<base>.*?)/?Patient/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/[^/]+)?")


def profile_url(name: str) -> str:
    return f"{BASE}/StructureDefinition/{name}"


def code_system(name: str) -> str:
    return f"{BASE}/CodeSystem/{name}"


def identifier_system(resource_type: str) -> str:
    return f"{BASE}/identifier/{resource_type}"


def client_id(kind: str, *parts: str) -> str:
    """``<kind>-<40 hex digits>`` of SHA-256 over kind and parts; the parts cannot run into each other.

    >>> client_id("subject", "NCT03864250", "p1") == client_id("subject", "NCT03864250", "p1")
    True
    >>> client_id("subject", "a", "bc") == client_id("subject", "ab", "c")
    False
    """
    digest = hashlib.sha256("\x00".join((kind, *parts)).encode()).hexdigest()
    return f"{kind}-{digest[:40]}"


def identifier(resource_type: str, value: str) -> dict[str, Any]:
    return {"system": identifier_system(resource_type), "value": value}


def is_fhir_id(text: str) -> bool:
    return _FHIR_ID.fullmatch(text) is not None


def patient_of(reference: str, base_url: str = "") -> str:
    """The Patient.id a reference names on this server, or "" (another type, another server, no reference).

    >>> patient_of("Patient/p1/_history/3"), patient_of("https://h/fhir/Patient/p1", "https://h/fhir/")
    ('p1', 'p1')
    >>> patient_of("https://elsewhere/fhir/Patient/p1", "https://h/fhir"), patient_of("Group/p1")
    ('', '')
    """
    found = _PATIENT.fullmatch(reference)
    if found is None or found["base"] not in ("", base_url.rstrip("/")):
        return ""
    return found["id"]
