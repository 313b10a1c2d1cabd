"""First pass: what other resources point to, and which report lists which result.

References come in many spellings (https://hl7.org/fhir/R4/references.html): relative (``Patient/1``),
absolute, with ``/_history/2``, ``urn:uuid:...``, conditional (``Patient?identifier=system|value``),
contained (``#1``), or logical, by identifier alone. All of them are understood here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import msgspec

from adapter.mappers import r4

R = TypeVar("R", bound=r4.Resource)

_TYPED = re.compile(r"(?:^|/)(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/[^/]+)?$")
_CONDITIONAL = re.compile(r"^(?P<type>[A-Z][A-Za-z]+)\?identifier=(?P<system>[^|]*)\|(?P<value>.+)$")

_NONE: Mapping[str, str] = MappingProxyType({})


class Target(NamedTuple):
    """What a reference string names; ``type`` is "" for a urn."""

    type: str
    id: str


@lru_cache(maxsize=4096)
def parse_reference(text: str) -> Target | None:
    """The type and id in a literal reference, or None if there is none to be had.

    >>> parse_reference("https://h.example/fhir/Patient/7/_history/2")
    Target(type='Patient', id='7')
    >>> parse_reference("urn:uuid:9b1d")
    Target(type='', id='9b1d')
    """
    text = text.strip()
    if text.lower().startswith(("urn:uuid:", "urn:oid:")):
        return Target("", text.rpartition(":")[2])
    found = _TYPED.search(text)
    return Target(found["type"], found["id"]) if found else None


class Index(msgspec.Struct, frozen=True):
    """Medications, specimens and patients by id and by identifier; patients also by survivor."""

    patients: Mapping[str, r4.Patient] = MappingProxyType({})
    medications: Mapping[str, r4.Medication] = MappingProxyType({})
    specimens: Mapping[str, r4.Specimen] = MappingProxyType({})
    identifiers: Mapping[str, str] = _NONE
    survivors: Mapping[str, str] = _NONE
    reports: Mapping[tuple[str, str], str] = MappingProxyType({})
    """(Patient.id, Observation id) to the person's ``DiagnosticReport/id`` listing it; "" if several do."""

    def find(self, reference: r4.Reference | None, wanted: str) -> str:
        """The id of the resource of the wanted type that a reference names, or "".

        A literal reference of the right type is believed even if the resource itself was never sent.
        """
        if reference is None:
            return ""
        text = reference.reference or ""
        conditional = _CONDITIONAL.match(text) if "?" in text else None
        if conditional and conditional["type"] == wanted:
            return self.identifiers.get(_key(wanted, conditional["system"], conditional["value"]), "")
        target = parse_reference(text)
        if target is not None:
            return target.id if target.type in ("", wanted) else ""
        identifier = reference.identifier
        if identifier is None or not identifier.value or reference.type not in (None, wanted):
            return ""
        return self.identifiers.get(_key(wanted, identifier.system or "", identifier.value), "")

    def patient(self, reference: r4.Reference | None) -> str:
        """The surviving Patient.id, after merges; "" if the reference names no patient."""
        found = self.find(reference, "Patient")
        return self.survivors.get(found, found)

    def medication(
        self, reference: r4.Reference | None, contained: Iterable[msgspec.Raw] = ()
    ) -> r4.Medication | None:
        """The Medication that was sent or is contained, else None."""
        inner = contained_resource(reference, contained, r4.Medication)
        return inner or self.medications.get(self.find(reference, "Medication"))

    def specimen(
        self, reference: r4.Reference | None, contained: Iterable[msgspec.Raw] = ()
    ) -> r4.Specimen | None:
        """The Specimen that was sent or is contained, else None."""
        inner = contained_resource(reference, contained, r4.Specimen)
        return inner or self.specimens.get(self.find(reference, "Specimen"))


def contained_resource(
    reference: r4.Reference | None, contained: Iterable[msgspec.Raw], wanted: type[R]
) -> R | None:
    """The contained resource that ``#id`` names, if it is of the wanted type and readable."""
    text = (reference.reference if reference else None) or ""
    if not text.startswith("#"):
        return None
    for item in contained:
        try:
            head = msgspec.json.decode(item, type=r4.Head)
            if head.id == text[1:] and head.resourceType == wanted.__name__:
                return r4.decode(item, wanted)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue  # an unreadable neighbour: reported where it is mapped
    return None


def build(
    patients: Iterable[r4.Patient],
    medications: Iterable[r4.Medication],
    specimens: Iterable[r4.Specimen],
    survivors: Mapping[str, str] = _NONE,
    reports: Iterable[r4.DiagnosticReport] = (),
) -> Index:
    """Index what the first pass found. An identifier shared by two resources of a type names neither."""
    people = {one.id: one for one in patients if one.id}
    drugs = {one.id: one for one in medications if one.id}
    samples = {one.id: one for one in specimens if one.id}
    identifiers: dict[str, str] = {}
    everyone: list[r4.Resource] = [*people.values(), *drugs.values(), *samples.values()]
    for resource in everyone:
        for identifier in resource.identifiers:
            if identifier.value:
                key = _key(resource.resourceType, identifier.system or "", identifier.value)
                same = survivors.get(resource.id or "", resource.id or "")
                identifiers[key] = same if identifiers.get(key, same) == same else ""
    listed: dict[tuple[str, str], str] = {}
    index = Index(people, drugs, samples, identifiers, survivors, MappingProxyType(listed))
    for report in reports:
        subject = index.patient(report.subject)
        for result in report.result:
            target = parse_reference(result.reference or "")
            if target is not None and target.type in ("", "Observation"):
                known = listed.setdefault((subject, target.id), report.reference)
                listed[subject, target.id] = known if known == report.reference else ""
    return index


def _key(resource_type: str, system: str, value: str) -> str:
    return f"{resource_type}\n{system}\n{value}"
