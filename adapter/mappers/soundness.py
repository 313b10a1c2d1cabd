"""JSON that can be decoded and still must not be believed.

Two things hide from a typed decoder. A property written twice: parsers take one of the two and say nothing
(RFC 8259, section 4: "behavior ... is unpredictable"). And a ``modifierExtension`` deep in an element: what
is not understood must not be processed (https://hl7.org/fhir/R4/extensibility.html#modifierExtension). Parts
of an Observation answer for themselves (``observation.py``); anywhere else the whole resource is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

_OWN_PART = re.compile(r"(?:(?:contained|component)\[\d+\]\.)*modifierExtension")
_MODIFIER = b"modifierExtension"


class Unsound(NamedTuple):
    """Why a resource must not be believed: issue code, element and words for the issue."""

    code: str
    path: str
    detail: str


class _WrittenTwice(Exception):
    pass


def unsound(line: bytes) -> Unsound | None:
    """What is wrong with a line that decoded well; None if nothing is."""
    if _MODIFIER not in line and _no_key_is_lost(line):
        return None
    try:
        tree = _DECODER.decode(line.decode())
    except _WrittenTwice:
        return Unsound("DUPLICATE_KEY", "", "a property is written twice in one object: neither is believed")
    except (ValueError, RecursionError):
        return None  # whoever decodes it for use says why it cannot be read
    if _MODIFIER in line:
        for path in _modified(tree, "", is_observation=tree.get("resourceType") == "Observation"):
            return Unsound("MODIFIER_EXTENSION", path, "not understood, so it may turn the meaning round")
    return None


def _no_key_is_lost(line: bytes) -> bool:
    """Whether as many keys are written as a decoder keeps; where that is not sure the answer is no.

    What comes out again as it was written holds no key twice. Other lines are counted: a key ends in ``":``.
    So does a string that begins with a colon, but just as often before and after, as long as nothing is
    escaped and nothing stands between a quote and its colon.
    """
    try:
        kept = msgspec.json.encode(msgspec.json.decode(line))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    if kept == line:
        return True
    if b"\\" in line or b'" ' in line or b'"\t' in line or b'"\r' in line or b'"\n' in line:
        return False
    return kept.count(b'":') == line.count(b'":')


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _WrittenTwice
    return found


# Numbers stay text: only the shape is looked at, and an int of 5,000 digits would be refused.
_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_float=str, parse_int=str)


def _modified(value: Any, path: str, *, is_observation: bool) -> Iterator[str]:
    """Elements with a modifierExtension, but for those whose mapper looks for itself."""
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _modified(item, f"{path}[{position}]", is_observation=is_observation)
    elif isinstance(value, dict):
        is_observation = value.get("resourceType", "Observation") == "Observation" and is_observation
        for name, item in value.items():
            inner = f"{path}.{name}" if path else name
            if name != "modifierExtension":
                yield from _modified(item, inner, is_observation=is_observation)
            elif item and path and not (is_observation and _OWN_PART.fullmatch(inner)):
                yield path
