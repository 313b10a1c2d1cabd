"""Checks what we write against ``fhir_profiles/``: the profiles are the specification, not this file.

``fhir.resources`` checks types and base cardinalities but enforces no code (a status "banana" passes) and
knows no profiles. This reads the differentials of our own StructureDefinitions and enforces the part of
FHIR's profiling that they use: min, max, fixed, pattern, required binding, value[x] types, extension slices,
and named constraints. A StructureDefinition that uses anything else is refused when it is loaded, rather
than half understood. Source: https://hl7.org/fhir/R4/profiling.html.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from adapter.errors import MappingError
from adapter.writeback.identity import BASE
from adapter.writeback.status import STATUSES

Json = dict[str, Any]

# Required bindings of R4 itself that the profiles restate (https://hl7.org/fhir/R4/valueset-<name>.html).
R4_CODES: Mapping[str, frozenset[str]] = {
    "research-subject-status": frozenset(status.code for status in STATUSES),
    "flag-status": frozenset({"active", "inactive", "entered-in-error"}),
    "research-study-status": frozenset(
        {
            "active",
            "administratively-completed",
            "approved",
            "closed-to-accrual",
            "closed-to-accrual-and-intervention",
            "completed",
            "disapproved",
            "in-review",
            "temporarily-closed-to-accrual",
            "temporarily-closed-to-accrual-and-intervention",
            "withdrawn",
        }
    ),
}
_IDENTITY = frozenset({"id", "path", "short", "sliceName", "slicing"})
_RULES = frozenset({"min", "max", "type", "binding", "constraint"})
_EXACT = frozenset({"fixedUri", "fixedCode", "patternCodeableConcept"})
_KNOWN_KEYS = _IDENTITY | _RULES | _EXACT


class Fault(NamedTuple):
    """One breach; ``code`` is MIN, MAX, FIXED, PATTERN, BINDING, TYPE, EXTENSION or a constraint's key."""

    path: str
    code: str
    detail: str


def _names(parts: list[Any], name: str) -> bool:
    return any(part.get("url") == name for part in parts if isinstance(part, dict))


def _flag_period(flag: Json) -> bool:
    ended = "end" in flag.get("period", {})
    return ended == (flag.get("status") == "inactive") or flag.get("status") == "entered-in-error"


CONSTRAINTS: Mapping[str, Callable[[Json], bool]] = {
    "evs-1": lambda e: _names(e.get("extension", []), "version") or _names(e.get("extension", []), "sha256"),
    "flg-1": _flag_period,
    "mon-1": lambda e: (
        _names(e.get("extension", []), "evidence") or _names(e.get("extension", []), "personStatus")
    ),
}


class Profiles:
    """All profiles, extensions and value sets of one folder."""

    def __init__(self, folder: Path) -> None:
        resources = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
        self._systems = {
            r["url"]: frozenset(concept["code"] for concept in r["concept"])
            for r in resources
            if r["resourceType"] == "CodeSystem"
        }
        self._sets = {r["url"]: self._expand(r) for r in resources if r["resourceType"] == "ValueSet"}
        definitions = [r for r in resources if r["resourceType"] == "StructureDefinition"]
        self._elements = {d["url"]: d["differential"]["element"] for d in definitions}
        for definition in definitions:
            self._understand(definition)

    def check(self, resource: Json, profile: str) -> tuple[Fault, ...]:
        """Every breach of the profile; raises KeyError for a profile that is not in the folder."""
        root = str(resource.get("resourceType", profile))
        return tuple(self._against(resource, f"{BASE}/StructureDefinition/{profile}", root))

    def _expand(self, value_set: Json) -> frozenset[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for include in value_set["compose"]["include"]:
            codes = [concept["code"] for concept in include.get("concept", ())]
            found |= {(include["system"], code) for code in codes or self._systems[include["system"]]}
        return frozenset(found)

    def _understand(self, definition: Json) -> None:
        for element in definition["differential"]["element"]:
            unknown = sorted(set(element) - _KNOWN_KEYS)
            keys = [c["key"] for c in element.get("constraint", ()) if c["key"] not in CONSTRAINTS]
            bound = element.get("binding", {}).get("valueSet")
            if bound and bound not in self._sets and bound.rpartition("/")[2] not in R4_CODES:
                keys.append(bound)
            if unknown or keys:
                raise MappingError(
                    f"{element['id']} uses what the checker does not know: {', '.join(unknown + keys)}",
                    where=f"StructureDefinition-{definition['id']}.json",
                    fix="teach adapter/writeback/profile.py, with an invalid example",
                )

    def _against(self, value: Json, profile: str, path: str) -> Iterator[Fault]:
        elements = self._elements[profile]
        for element in elements:
            _, *steps = element["id"].split(".")
            if not steps:
                yield from self._constraints(element, value, path)
                continue
            for parent, where in self._reach(value, steps[:-1], profile, path):
                yield from self._element(element, parent, steps[-1], profile, f"{where}.{steps[-1]}")
        yield from self._strangers(value, profile, path)

    def _reach(self, value: Json, steps: list[str], profile: str, path: str) -> Iterator[tuple[Json, str]]:
        if not steps:
            yield value, path
            return
        for number, child in enumerate(self._children(value, steps[0], profile)):
            if isinstance(child, dict):
                yield from self._reach(child, steps[1:], profile, f"{path}.{steps[0]}[{number}]")

    def _children(self, parent: Json, step: str, profile: str) -> list[Any]:
        name, _, slice_name = step.partition(":")
        if name == "value[x]":
            return [parent[key] for key in parent if key.startswith("value")]
        found = parent.get(name, [])
        values = found if isinstance(found, list) else [found]
        if not slice_name:
            return values
        return [v for v in values if v.get("url") in (slice_name, f"{BASE}/StructureDefinition/{slice_name}")]

    def _element(self, element: Json, parent: Json, step: str, profile: str, path: str) -> Iterator[Fault]:
        values = self._children(parent, step, profile)
        if len(values) < element.get("min", 0):
            yield Fault(path, "MIN", f"{len(values)} found, at least {element['min']} required")
        if (most := element.get("max", "*")) != "*" and len(values) > int(most):
            yield Fault(path, "MAX", f"{len(values)} found, at most {most} allowed")
        if step == "value[x]" and (types := element.get("type")):
            allowed = {f"value{t['code'][0].upper()}{t['code'][1:]}" for t in types}
            for key in sorted(key for key in parent if key.startswith("value") and key not in allowed):
                yield Fault(path, "TYPE", f"{key} found, {' or '.join(sorted(allowed))} required")
        for value in values:
            yield from self._value(element, value, path)

    def _value(self, element: Json, value: Any, path: str) -> Iterator[Fault]:
        for key in ("fixedUri", "fixedCode"):
            if key in element and value != element[key]:
                yield Fault(path, "FIXED", f"must be {element[key]}")
        pattern = element.get("patternCodeableConcept")
        if pattern and not _codings(pattern) <= _codings(value):
            yield Fault(path, "PATTERN", f"must hold the coding {sorted(_codings(pattern))}")
        if "binding" in element and not self._bound(element["binding"]["valueSet"], value):
            yield Fault(path, "BINDING", f"not a code of {element['binding']['valueSet']}")
        for kind in element.get("type", ()):
            if targets := kind.get("targetProfile"):
                yield from _target(targets, value, path)
            for nested in kind.get("profile", ()):
                yield from self._against(value, nested, path)
        yield from self._constraints(element, value, path)

    def _bound(self, value_set: str, value: Any) -> bool:
        allowed = self._sets.get(value_set)
        if isinstance(value, dict):
            return allowed is not None and bool(allowed & _codings(value))
        if allowed is None:
            return value in R4_CODES[value_set.rpartition("/")[2]]
        return any(value == code for _, code in allowed)

    def _constraints(self, element: Json, value: Any, path: str) -> Iterator[Fault]:
        for constraint in element.get("constraint", ()):
            if isinstance(value, dict) and not CONSTRAINTS[constraint["key"]](value):
                yield Fault(path, constraint["key"], constraint["human"])

    def _strangers(self, value: Json, profile: str, path: str) -> Iterator[Fault]:
        """Extensions in our own name that no profile defines; others' extensions are their own affair."""
        slices = {e["sliceName"] for e in self._elements[profile] if "sliceName" in e}
        for part in value.get("extension", ()):
            url = part.get("url", "")
            ours = url.startswith(BASE) and url not in self._elements
            if ours or ("/" not in url and url not in slices):
                yield Fault(f"{path}.extension", "EXTENSION", f"{url!r} is not defined")


def _codings(concept: Any) -> set[tuple[str, str]]:
    codings = concept.get("coding", []) if isinstance(concept, dict) else []
    return {(coding.get("system", ""), coding.get("code", "")) for coding in codings}


def _target(targets: list[str], value: Any, path: str) -> Iterator[Fault]:
    """A literal reference must name one of the types; logical references carry their type themselves."""
    types = {target.rpartition("/")[2] for target in targets}
    reference = value.get("reference", "") if isinstance(value, dict) else ""
    parts = reference.split("/_history/")[0].split("/")
    named = parts[-2] if len(parts) > 1 else (value.get("type", "") if isinstance(value, dict) else "")
    if named not in types:
        yield Fault(path, "TYPE", f"a reference to {' or '.join(sorted(types))} is required")
