"""What a stored FHIR resource is found under: search parameters, and the values they have in a resource.

One table serves the index that is kept with every version, the search and the CapabilityStatement, so that
none of them can promise what another does not keep. Names, types and elements are R4's
(https://hl7.org/fhir/R4/searchparameter-registry.html); where R4 has none (Flag by status), there is none
here either. Dates are kept as written: which time they mean is a question of the zone of who asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

Json = dict[str, Any]
Kind = Literal["token", "reference", "date", "uri"]

_LITERAL = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/.*)?")


class Parameter(NamedTuple):
    """``path`` leads to the element; ``targets`` are the types a bare id may mean; ``system`` is that of the
    codes of a ``code`` element, which does not name its own."""

    name: str
    kind: Kind
    path: str
    targets: tuple[str, ...] = ()
    system: str = ""


_ID = Parameter("_id", "token", "id")
_UPDATED = Parameter("_lastUpdated", "date", "meta.lastUpdated")
_IDENTIFIER = Parameter("identifier", "token", "identifier")
_PATIENT = ("Patient",)
_ANYONE = ("Patient", "Group", "Practitioner", "Organization", "Device", "Location")
_HL7 = "http://hl7.org/fhir"


def _status(value_set: str) -> Parameter:
    return Parameter("status", "token", "status", system=f"{_HL7}/{value_set}")


STORED: Mapping[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        "Device": (_ID, _UPDATED, _IDENTIFIER),
        "Flag": (
            _ID,
            _UPDATED,
            _IDENTIFIER,
            Parameter("date", "date", "period"),
            Parameter("patient", "reference", "subject", _PATIENT),
            Parameter("subject", "reference", "subject", _ANYONE),
        ),
        "List": (
            _ID,
            _UPDATED,
            _IDENTIFIER,
            _status("list-status"),
            Parameter("code", "token", "code"),
            Parameter("date", "date", "date"),
            Parameter("item", "reference", "entry.item"),
            Parameter("patient", "reference", "subject", _PATIENT),
            Parameter("subject", "reference", "subject", _ANYONE),
        ),
        "Provenance": (
            _ID,
            _UPDATED,
            Parameter("agent", "reference", "agent.who"),
            Parameter("entity", "reference", "entity.what"),
            Parameter("recorded", "date", "recorded"),
            Parameter("target", "reference", "target"),
        ),
        "Questionnaire": (
            _ID,
            _UPDATED,
            _IDENTIFIER,
            _status("publication-status"),
            Parameter("url", "uri", "url"),
        ),
        "QuestionnaireResponse": (
            _ID,
            _UPDATED,
            _IDENTIFIER,
            _status("questionnaire-answers-status"),
            Parameter("authored", "date", "authored"),
            Parameter("patient", "reference", "subject", _PATIENT),
            Parameter("questionnaire", "uri", "questionnaire"),
            Parameter("subject", "reference", "subject", _ANYONE),
        ),
        "ResearchStudy": (
            _ID,
            _UPDATED,
            _IDENTIFIER,
            _status("research-study-status"),
            Parameter("date", "date", "period"),
        ),
        "ResearchSubject": (
            _ID,
            _UPDATED,
            _IDENTIFIER,
            _status("research-subject-status"),
            Parameter("date", "date", "period"),
            Parameter("individual", "reference", "individual", _PATIENT),
            Parameter("patient", "reference", "individual", _PATIENT),
            Parameter("study", "reference", "study", ("ResearchStudy",)),
        ),
    }
)
# Made of what is stored when they are asked for (``adapter/web/fhir/projections.py``).
PROJECTED: Mapping[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        "AuditEvent": (
            _ID,
            _UPDATED,
            Parameter("action", "token", "action", system=f"{_HL7}/audit-event-action"),
            Parameter("agent-name", "uri", "agent.name"),
            Parameter("date", "date", "recorded"),
            Parameter("entity", "reference", "entity.what"),
            Parameter("subtype", "token", "subtype"),
            Parameter("type", "token", "type"),
        ),
        "Group": (
            _ID,
            _UPDATED,
            _IDENTIFIER,
            Parameter("actual", "token", "actual"),
            Parameter("code", "token", "code"),
            Parameter("member", "reference", "member.entity", _PATIENT),
            Parameter("type", "token", "type", system=f"{_HL7}/group-type"),
        ),
    }
)
TYPES: Mapping[str, tuple[Parameter, ...]] = MappingProxyType({**STORED, **PROJECTED})
# Changes whenever the table above finds something else in the same resource: what is stored is indexed anew.
INDEX = "2"


def parameter(kind: str, name: str) -> Parameter | None:
    return next((one for one in TYPES[kind] if one.name == name), None)


def keys_of(resource: Json) -> dict[str, set[str]]:
    """Values by parameter; nothing for a type that is not searched."""
    return {
        one.name: keys(one, resource) for one in TYPES.get(resource["resourceType"], ()) if one is not _ID
    }


def keys(wanted: Parameter, resource: Json) -> set[str]:
    """What the resource is found under by one parameter. A Period is ``start/end``, an open end nothing."""
    found: set[str] = set()
    for element in _at(resource, wanted.path.split(".")):
        if wanted.kind == "token":
            found |= set(_tokens(element, wanted.system))
        elif wanted.kind == "reference":
            found |= {relative(str(element.get("reference", "")))} if isinstance(element, dict) else set()
        elif wanted.kind == "date" and isinstance(element, dict):
            found.add(f"{element.get('start', '')}/{element.get('end', '')}")
        else:
            found.add(str(element))
    return found - {"", "/"}


def relative(reference: str) -> str:
    """``Type/id`` of any spelling of a reference; whatever else it is stays as it is."""
    found = _LITERAL.fullmatch(reference)
    return found[1] if found else reference


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _at(one, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _tokens(element: Any, system: str) -> Iterator[str]:
    if isinstance(element, bool):
        yield str(element).lower()
    elif isinstance(element, dict) and "coding" in element:
        for coding in _at(element, ["coding"]):
            yield from _tokens(coding, "")
    elif isinstance(element, dict):
        code, named = element.get("code") or element.get("value"), str(element.get("system", ""))
        if code:
            yield from (str(code), f"{named}|{code}", f"{named}|" if named else "")
    else:
        yield from (str(element), f"{system}|{element}", f"{system}|" if system else "")
