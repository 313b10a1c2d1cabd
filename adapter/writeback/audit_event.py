"""A row of the audit as a FHIR AuditEvent. The chain stays the proof: each event names its row's number and
hashes.
Types are those of DICOM's audit messages where one fits, as the value set of AuditEvent.type has them; the
exact word of the row stands beside it as subtype. Nothing is added to what the row says. Sources:
https://hl7.org/fhir/R4/auditevent.html; DICOM PS3.16, CID 400 and 401; RFC 3881, 5.1.4 (outcomes).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from adapter.store.chain import Link
from adapter.store.parameters import relative
from adapter.writeback.identity import code_system
from adapter.writeback.resources import Json

_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_OBJECT = "http://terminology.hl7.org/CodeSystem/audit-entity-type"


class Kind(NamedTuple):
    """DICOM code and its name; what was done (Create, Read, Update, Delete, Execute); how it ended."""

    code: str
    display: str
    action: str
    outcome: str = "0"


_ACTIVITY = Kind("110100", "Application Activity", "E")
_ACCOUNT = Kind("110113", "Security Alert", "U")
_RECORD = Kind("110110", "Patient Record", "U")
_KINDS = {
    "sign-in": Kind("110114", "User Authentication", "E"),
    "sign-out": Kind("110114", "User Authentication", "E"),
    "sign-in-failed": Kind("110114", "User Authentication", "E", "4"),
    "password-change-failed": Kind("110114", "User Authentication", "E", "4"),
    "signature-failed": Kind("110114", "User Authentication", "E", "4"),
    "access-refused": Kind("110113", "Security Alert", "E", "4"),
    "account-add": Kind("110113", "Security Alert", "C"),
    **dict.fromkeys(("account-grant", "account-secret", "account-disable", "account-enable"), _ACCOUNT),
    **dict.fromkeys(("grant", "revoke"), _ACCOUNT),
    "see": Kind("110110", "Patient Record", "R"),
    "audit-see": Kind("110101", "Audit Log Used", "R"),
    "audit-verify": Kind("110101", "Audit Log Used", "R"),
    "audit-export": Kind("110101", "Audit Log Used", "R"),
    **dict.fromkeys(("fetch", "sync"), Kind("110107", "Import", "R")),
    **dict.fromkeys(("export", "pull", "pulled"), Kind("110106", "Export", "R")),
    **dict.fromkeys(("attest", "note", "approved", "rejected", "write", "retract"), _RECORD),
}


def audit_event(link: Link) -> Json:
    """One row as an AuditEvent (R4); references as they stand in the row."""
    what = [str(one) for one in msgspec.json.decode(link.what)]
    detail = msgspec.json.decode(link.detail)
    kind = _KINDS.get(link.action, _ACTIVITY)
    told = (("hash", link.hash), ("previous", link.previous), *sorted(detail.items()))
    row = {
        "type": {"system": _OBJECT, "code": "4", "display": "Other"},
        "name": f"audit row {link.number}",
        "detail": [{"type": name, "valueString": _text(value)} for name, value in told if _text(value)],
    }
    return {
        "resourceType": "AuditEvent",
        "id": f"{link.number:012d}",
        "meta": {"versionId": "1", "lastUpdated": link.at},
        "type": {"system": _DICOM, "code": kind.code, "display": kind.display},
        "subtype": [{"system": code_system("audit-action"), "code": link.action}],
        "action": kind.action,
        "recorded": link.at,
        "outcome": kind.outcome,
        "agent": [{"name": link.actor, "requestor": True}],
        "source": {"observer": {"display": "trial-fhir-adapter"}},
        "entity": [*(_entity(one) for one in what), row],
    }


def _entity(reference: str) -> Json:
    plain = relative(reference)
    if plain.startswith("Patient/"):
        return {
            "what": {"reference": reference},
            "type": {"system": _OBJECT, "code": "1", "display": "Person"},
            "role": {
                "system": "http://terminology.hl7.org/CodeSystem/object-role",
                "code": "1",
                "display": "Patient",
            },
        }
    if "/" in plain and plain[:1].isupper():
        return {
            "what": {"reference": reference},
            "type": {"system": _OBJECT, "code": "2", "display": "System Object"},
        }
    return {"what": {"identifier": {"value": reference}}}


def _text(value: object) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value, order="deterministic").decode()
