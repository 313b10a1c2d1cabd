"""Worked cases that a nephrologist can write and read: ``cases.yaml``.

A case is a person in a few lines of shorthand, and the verdicts expected of the protocol. The shorthand
becomes FHIR R4 resources, byte for byte what a hospital could send, and takes the same way through
mappers and rules as real data; no number reaches a rule by another door. Format: ``docs/cases.md``.

Every scalar is read as text (``BaseLoader``), so ``8.0`` stays ``8.0`` and ``2019-05-28`` a date text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, get_args

import msgspec
import yaml

from adapter.errors import ProtocolError
from adapter.model.coverage import Coverage
from adapter.model.dates import add_days
from adapter.model.monitoring import DueStatus, Response
from adapter.model.resource import RawResource
from adapter.model.yaml_nodes import check_depth, foreign
from adapter.protocol.case_records import RECORD_KINDS, attestation, build_record, enrolment, patient

Tree = dict[str, Any]

_EXPECTED = re.compile(r"(?P<verdict>[A-Za-z0-9_-]+)(?:\s*\[(?P<flags>[^\]]*)\])?")
_VERDICTS = {"met": "met", "not_met": "not_met", "unknown": "unknown", "true": "met", "false": "not_met"}
_WORDS = {
    "overall": ("eligible", "ineligible", "undetermined"),
    "review": ("true", "false"),
    "visit": get_args(Response),
    "due": get_args(DueStatus),
}
"""What may be expected of ``overall`` and ``review``, of ``visit <id>`` and of ``due <id>``."""


_PERSON = {
    "as_of", "patient", "records", "attested", "attested_later", "coverage", "like", "randomised", "arm",
}  # fmt: skip


class Expectation(msgspec.Struct, frozen=True):
    """What one criterion must say, and flags that must and must not appear.

    ``target`` may also be ``overall``, ``review``, ``visit <id>``, ``due <id>`` or ``ladder <id>``.
    """

    target: str
    verdict: str
    flags: frozenset[str] = frozenset()
    absent_flags: frozenset[str] = frozenset()


class Case(msgspec.Struct, frozen=True):
    """One person as of one date, as FHIR resources, with the verdicts that are right."""

    name: str
    as_of: date
    resources: tuple[RawResource, ...]
    expected: tuple[Expectation, ...]
    coverage: tuple[Coverage, ...]
    because: str = ""
    site: str = ""
    where: str = ""
    randomised: date | None = None


class _Typed(msgspec.Struct):
    resourceType: str


class _TextLoader(yaml.BaseLoader):
    """BaseLoader that remembers the line of each mapping and refuses duplicate keys."""


def _mapping(loader: _TextLoader, node: yaml.MappingNode) -> Tree:
    tree: Tree = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node)
        if key in tree:
            raise ProtocolError(
                f"the key {key!r} appears twice",
                where=f"{key_node.start_mark.name}:{key_node.start_mark.line + 1}",
                fix="keep one of the two; YAML would silently take the last",
            )
        tree[key] = loader.construct_object(value_node, deep=True)
    tree["__line__"] = str(node.start_mark.line + 1)
    return tree


_TextLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _constructed(text: str, path: Path) -> Any:
    check_depth(text)
    loader = _TextLoader(text)
    loader.name = str(path)
    try:
        node = loader.get_single_node()
        if found := foreign(node):
            raise ProtocolError(found.message, where=f"{path}:{found.line}", fix=found.fix)
        return loader.construct_document(node) if node is not None else None
    finally:
        loader.dispose()


def load_cases(path: Path, questionnaire: str) -> tuple[Case, ...]:
    """Read a cases file; ``questionnaire`` is the canonical that ``attested`` answers belong to.

    Raises :class:`ProtocolError` naming file and line for an unknown word, base or expectation.
    """
    try:
        with path.open(encoding="utf-8") as text:
            tree = _constructed(text.read(), path)
    except FileNotFoundError as fault:
        raise ProtocolError("no such file", where=str(path), fix="pass --cases FILE") from fault
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ProtocolError("not YAML", where=f"{path}:{line}", fix=str(fault).splitlines()[0]) from fault
    if not isinstance(tree, dict):
        raise ProtocolError("a cases file is a mapping", where=f"{path}:1", fix="see docs/cases.md")
    return tuple(_Reader(path, tree, questionnaire).cases())


class _Reader:
    def __init__(self, path: Path, tree: Tree, questionnaire: str) -> None:
        self.path = path
        self.tree = tree
        self.questionnaire = questionnaire

    def cases(self) -> Iterator[Case]:
        self._only(self.tree, {"protocol", "people", "cases"})
        seen: set[str] = set()
        for entry in self.tree.get("cases", []):
            self._only(entry, {"case", "like", "change", "expect", "because", "site"})
            name = entry.get("case", "")
            if not name or name in seen:
                raise self._error(entry, f"case name {name!r} is missing or used twice", "name it once")
            seen.add(name)
            yield self._case(name, entry)

    def _case(self, name: str, entry: Tree) -> Case:
        person = self._person(entry["like"], entry, ()) if "like" in entry else {}
        if change := entry.get("change"):
            person = _merge(person, change)
        self._only(person, _PERSON)
        as_of = self._day(entry, person, "as_of")
        entered = self._day(entry, person, "randomised") if "randomised" in person else None
        return Case(
            name=name,
            as_of=as_of,
            resources=tuple(self._resources(entry, person, as_of, entered)),
            expected=tuple(self._expected(entry)),
            coverage=_coverage(person.get("coverage", {})),
            because=entry.get("because", ""),
            site=entry.get("site", ""),
            where=f"{self.path}:{entry['__line__']}",
            randomised=entered,
        )

    def _day(self, entry: Tree, person: Tree, name: str) -> date:
        try:
            return date.fromisoformat(person.get(name, ""))
        except ValueError as fault:
            raise self._error(entry, f"{name} is not a date", f"write {name}: YYYY-MM-DD") from fault

    def _person(self, name: str, entry: Tree, above: tuple[str, ...]) -> Tree:
        people = self.tree.get("people", {})
        if name not in people or name in above:
            known = ", ".join(key for key in people if key != "__line__")
            raise self._error(entry, f"there is no person {name!r} to be like", f"known people: {known}")
        person: Tree = people[name]
        if base := person.get("like"):
            merged: Tree = _merge(self._person(base, person, (*above, name)), person)
            return merged
        return person

    def _resources(
        self, entry: Tree, person: Tree, as_of: date, entered: date | None
    ) -> Iterator[RawResource]:
        built = [patient(_plain(person.get("patient", {})))]
        answered = as_of if entered is None else add_days(entered, -1)
        if answers := _plain(person.get("attested", {})):
            built.append(attestation(answers, self.questionnaire, answered))
        if answers := _plain(person.get("attested_later", {})):
            built.append(attestation(answers, self.questionnaire, as_of, "attestation-later"))
        if entered is not None:
            built += enrolment(self.tree.get("protocol", ""), entered, person.get("arm", ""))
        for key, record in _plain(person.get("records", {})).items():
            if not isinstance(record, Mapping):
                raise self._error(entry, f"record {key!r} is not a mapping", "see docs/cases.md")
            kinds = [kind for kind in RECORD_KINDS if kind in record]
            if len(kinds) != 1:
                raise self._error(
                    entry,
                    f"record {key!r} has {len(kinds)} kinds",
                    f"give it exactly one of: {', '.join(RECORD_KINDS)}",
                )
            try:
                built.extend(build_record(kinds[0], key, record))
            except ValueError as fault:
                raise self._error(entry, f"record {key!r}: {fault}", "see docs/cases.md") from fault
        for number, resource in enumerate(built):
            line = msgspec.json.encode(resource)
            kind = msgspec.json.decode(line, type=_Typed).resourceType
            yield RawResource(line, f"{entry.get('case', '')}:{number + 1}", kind)

    def _expected(self, entry: Tree) -> Iterator[Expectation]:
        for target, text in _plain(entry.get("expect", {})).items():
            match = _EXPECTED.fullmatch(text.strip()) if isinstance(text, str) else None
            kind, _, name = target.partition(" ")
            allowed = _WORDS.get(kind, tuple(_VERDICTS))
            if match is None or (match["verdict"] not in allowed and not (kind == "ladder" and name)):
                raise self._error(
                    entry, f"{target}: cannot read {text!r}", f"one of {', '.join(allowed)}, then [FLAGS]"
                )
            flags = [flag.strip() for flag in (match["flags"] or "").split(",") if flag.strip()]
            verdict = match["verdict"]
            yield Expectation(
                target=target,
                verdict=verdict if kind in (*_WORDS, "ladder") else _VERDICTS[verdict],
                flags=frozenset(flag for flag in flags if not flag.startswith("-")),
                absent_flags=frozenset(flag[1:].strip() for flag in flags if flag.startswith("-")),
            )

    def _only(self, tree: Tree, allowed: set[str]) -> None:
        for key in tree:
            if key not in allowed and key != "__line__":
                raise self._error(tree, f"unknown word {key!r}", f"one of: {', '.join(sorted(allowed))}")

    def _error(self, tree: Tree, message: str, fix: str) -> ProtocolError:
        return ProtocolError(message, where=f"{self.path}:{tree.get('__line__', '1')}", fix=fix)


def _merge(below: Any, above: Any) -> Any:
    """``above`` laid over ``below``: mappings merge key by key, an empty value removes, the rest replaces."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    merged = dict(below)
    for key, value in above.items():
        if value == "" and key != "__line__":
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _plain(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _plain(value) for key, value in tree.items() if key != "__line__"}
    if isinstance(tree, list):
        return [_plain(value) for value in tree]
    return tree


# What a case's hospital is asked for: everything, so silence in a case is silence of the whole record.
# fmt: off
_TYPES = (
    "Patient", "Condition", "Observation", "DiagnosticReport", "Specimen", "Procedure", "Immunization",
    "MedicationRequest", "MedicationDispense", "MedicationAdministration", "MedicationStatement",
    "AllergyIntolerance", "Consent", "Encounter", "ResearchSubject", "AdverseEvent", "QuestionnaireResponse",
)
# fmt: on


def _coverage(stated: Mapping[str, str]) -> tuple[Coverage, ...]:
    return tuple(
        Coverage(kind, complete=stated.get(kind, "complete") == "complete", reason=stated.get(kind, "case"))
        for kind in _TYPES
    )
