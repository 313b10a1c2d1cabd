"""Types that are made of what is stored, whenever they are asked for: who belongs to a study, who did what.

A Group is one study's people by where they stand; it follows the ResearchSubjects and cannot be written. An
AuditEvent is one row of the audit (:mod:`adapter.store.audit`), whose chain stays the proof: the event names
the row's number and hash. Sources: https://hl7.org/fhir/R4/group.html, https://hl7.org/fhir/R4/auditevent.html.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from adapter.store.parameters import Json, keys, parameter, relative
from adapter.store.resources import Shelf
from adapter.writeback.audit_event import audit_event
from adapter.writeback.identity import code_system
from adapter.writeback.resources import encode

# By R4's research-subject-status: where someone with this status belongs.
COHORTS: Mapping[str, tuple[str, frozenset[str]]] = {
    "candidates": (
        "Who may be considered for the study",
        frozenset({"potential-candidate", "candidate", "screening", "eligible", "pending-on-study"}),
    ),
    "on-study": (
        "Who is on the study",
        frozenset({"on-study", "on-study-intervention", "on-study-observation", "follow-up"}),
    ),
}


def source(kind: str, shelf: Shelf) -> Made:
    made = groups(shelf) if kind == "Group" else (audit_event(link) for link in shelf.audit())
    return Made({one["id"]: one for one in made})


class Made:
    """Resources in memory, found as those of the store are."""

    def __init__(self, resources: Mapping[str, Json]) -> None:
        self._resources = resources

    def matching(self, kind: str, values: Iterable[tuple[str, frozenset[str]]]) -> dict[str, int]:
        wanted = tuple(values)
        return {
            key: 1
            for key, one in self._resources.items()
            if all(self._keys(kind, name, one) & forms for name, forms in wanted)
        }

    def values(self, kind: str, name: str) -> dict[str, frozenset[str]]:
        return {key: self._keys(kind, name, one) for key, one in self._resources.items()}

    def read(self, kind: str, key: str, version: int) -> Json | None:
        return self._resources.get(key)

    def _keys(self, kind: str, name: str, resource: Json) -> frozenset[str]:
        known = parameter(kind, name)
        return frozenset(keys(known, resource)) if known else frozenset()


def groups(shelf: Shelf) -> Iterator[Json]:
    """Two of each study: candidates, and those on the study. Nobody in it is a Group all the same."""
    subjects = shelf.all("ResearchSubject")
    for study in shelf.all("ResearchStudy"):
        own = [
            one
            for one in subjects
            if relative(str(one["study"].get("reference", ""))) == f"ResearchStudy/{study['id']}"
        ]
        for name, (words, statuses) in COHORTS.items():
            yield _group(study, name, words, [one for one in own if one["status"] in statuses])


def _group(study: Json, name: str, words: str, subjects: list[Json]) -> Json:
    updated = max((str(one["meta"]["lastUpdated"]) for one in (study, *subjects)), default="")
    people = sorted({relative(str(one["individual"].get("reference", ""))) for one in subjects} - {""})
    made: Json = {
        "resourceType": "Group",
        "id": f"{study['id'][: 63 - len(name)]}-{name}",
        "identifier": [
            {**one, "value": f"{one['value']}-{name}"}
            for one in study.get("identifier", [])
            if one.get("value")
        ],
        "type": "person",
        "actual": True,
        "code": {"coding": [{"system": code_system("study-cohort"), "code": name}], "text": words},
        "name": f"{words}: {study.get('title', study['id'])}",
        "quantity": len(people),
        "member": [{"entity": {"reference": person}} for person in people],
    }
    made = {key: value for key, value in made.items() if value != []}
    return {**made, "meta": {"versionId": _digest(made), "lastUpdated": updated}}


def _digest(resource: Json) -> str:
    return hashlib.sha256(encode(resource)).hexdigest()[:16]
