"""A note as a Basic: the codes in our extensions, the words in its narrative.

Source: https://hl7.org/fhir/R4/basic.html.
"""

from __future__ import annotations

from html import escape

from adapter.writeback.note import AUTHOR, Note
from adapter.writeback.resources import Json


def basic_of(note: Note) -> Json:
    lines = "".join(f"<p>{escape(line)}</p>" for line in note.text.splitlines())
    return {
        "resourceType": "Basic",
        "text": {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{lines}</div>'},
        "code": note.concept,
        "subject": {"reference": f"Patient/{note.subject}"},
        "created": note.as_of.isoformat(),
        "author": AUTHOR,
    }
