"""A JSON Schema of ``protocol.yaml``, so that editors complete and check it while it is written.

Made from the closed vocabulary in :mod:`adapter.protocol.words`: each place allows exactly its words, each
condition exactly its operator and modifiers. Which concepts, drugs, anchors and units exist only
``adapter check`` knows. A word without a shape is a KeyError, so a new one cannot be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable

from adapter.protocol import words
from adapter.protocol.render.schema_shapes import EXTRA, IN_PLACE, REQUIRED, VALUES, WORDS, Schema, ref

ID = "https://trial-fhir-adapter.org/schema/protocol.schema.json"


def json_schema() -> Schema:
    """The schema, draft 2020-12."""
    places = [place for place in words.PLACES if place not in VALUES and place not in ("protocol", "anchor")]
    definitions = {
        **{place.replace(" ", "-"): _mapping(place, words.PLACES[place]) for place in places},
        **{f"condition-{operator}": _condition(operator) for operator in words.CONDITIONS},
        "condition": {"oneOf": [ref(f"condition {operator}") for operator in words.CONDITIONS]},
        "any-anchor": {
            "oneOf": [*_plain_anchors(), ref("event anchor"), ref("exposure anchor"), ref("reading anchor")]
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "protocol.yaml",
        "description": "A trial protocol as data; every word is explained in docs/protocol-vocabulary.md",
        **_mapping("protocol", words.PLACES["protocol"]),
        "$defs": definitions,
    }


def _condition(operator: str) -> Schema:
    """The operator, required, with the modifiers that may stand beside it."""
    return _mapping(f"condition {operator}", (operator, *words.CONDITIONS[operator]), (operator,))


def _plain_anchors() -> Iterable[Schema]:
    """Anchors of one word; those with an event or a reading have places of their own."""
    for word in words.PLACES["anchor"]:
        if word not in ("event", "reading"):
            yield _mapping("anchor", (word,), (word,))


def _mapping(place: str, allowed: Iterable[str], required: tuple[str, ...] = ()) -> Schema:
    """A mapping with exactly these words."""
    needed = (*required, *REQUIRED.get(place, ()))
    return {
        "type": "object",
        "properties": {word: _shape(place, word) for word in allowed},
        "additionalProperties": False,
        **({"required": list(needed)} if needed else {}),
        **EXTRA.get(place, {}),
    }


def _shape(place: str, word: str) -> Schema:
    return IN_PLACE[place, word] if (place, word) in IN_PLACE else WORDS[word]
