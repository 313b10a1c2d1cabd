"""A note as a Communication: said once, never changed; what is news is said anew and names what it replaces.

Source: https://hl7.org/fhir/R4/communication.html.
"""

from __future__ import annotations

from adapter.writeback.note import AUTHOR, Note
from adapter.writeback.resources import Json


def communication_of(note: Note) -> Json:
    resource: Json = {
        "resourceType": "Communication",
        "status": "completed",
        "category": [note.concept],
        "topic": {"text": note.title},
        "subject": {"reference": f"Patient/{note.subject}"},
        "sent": note.as_of.isoformat(),
        "sender": AUTHOR,
        "payload": [{"contentString": note.text}],
    }
    if note.evidence:
        resource["about"] = note.references()
    return resource
