"""A note as a DocumentReference: a text in the chart. A newer one ``replaces`` it; neither is changed.

Source: https://hl7.org/fhir/R4/documentreference.html.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1

from adapter.writeback.note import AUTHOR, Note
from adapter.writeback.resources import Json


def document_of(note: Note, replaced: str = "") -> Json:
    """``replaced`` is the reference of the document this one takes the place of, on the server."""
    body = note.text.encode()
    attachment: Json = {
        "contentType": "text/plain; charset=utf-8",
        "data": b64encode(body).decode("ascii"),
        "size": len(body),
        "hash": b64encode(sha1(body, usedforsecurity=False).digest()).decode("ascii"),  # FHIR asks for SHA-1
        "title": note.title,
    }
    resource: Json = {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": note.concept,
        "subject": {"reference": f"Patient/{note.subject}"},
        "author": [AUTHOR],
        "description": note.title,
        "content": [{"attachment": attachment}],
    }
    if replaced:
        resource["relatesTo"] = [{"code": "replaces", "target": {"reference": replaced}}]
    if note.evidence:
        resource["context"] = {"related": note.references()}
    return resource
