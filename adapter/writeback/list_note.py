"""A note as a List: the records the proposal rests on, in the chart of the person they are about.

Source: https://hl7.org/fhir/R4/list.html.
"""

from __future__ import annotations

from adapter.writeback.note import AUTHOR, Note
from adapter.writeback.resources import Json


def list_of(note: Note) -> Json:
    resource: Json = {
        "resourceType": "List",
        "status": "current",
        "mode": "snapshot",
        "title": note.title,
        "code": note.concept,
        "subject": {"reference": f"Patient/{note.subject}"},
        "date": note.as_of.isoformat(),
        "source": AUTHOR,
        "note": [{"text": note.text}],
    }
    if note.evidence:
        resource["entry"] = [{"item": one} for one in note.references()]
    return resource
