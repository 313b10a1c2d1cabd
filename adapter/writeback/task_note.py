"""A note as a Task: asked of nobody in particular, an intent ``proposal``. Its status is people's to move.

Source: https://hl7.org/fhir/R4/task.html.
"""

from __future__ import annotations

from adapter.writeback.note import AUTHOR, Note
from adapter.writeback.resources import Json


def task_of(note: Note) -> Json:
    resource: Json = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "proposal",
        "code": note.concept,
        "description": note.title,
        "for": {"reference": f"Patient/{note.subject}"},
        "authoredOn": note.as_of.isoformat(),
        "requester": AUTHOR,
        "note": [{"text": note.text}],
    }
    if note.evidence:
        resource["input"] = [
            {"type": {"text": "record this rests on"}, "valueReference": one} for one in note.references()
        ]
    return resource
