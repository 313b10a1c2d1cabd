"""The codes and units of a screening that no table knows, by how often they come.

Only of people who were screened: what nobody's decision could use is not worth a person's time. A text that
came without a code is shown if several people's records carry it; one person's may say who it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from adapter.mappers.terminology import Terminology
from adapter.model.facts import Coding, Event, Facts, Finding, Intervention
from adapter.model.wording import folded

Kind = Literal["code", "unit", "no_unit"]
Class = Literal["finding", "event", "intervention"]

_UNITS: dict[str, Kind] = {"UNIT_UNKNOWN": "unit", "UNIT_MISSING": "no_unit"}
# What a person maps. Reports, specimens and encounters decide nothing by their code.
_CATEGORIES = frozenset({"diagnosis", "procedure", "allergy"})
_SAMPLES, _SOURCES, _TEXT = 5, 3, 60


class Seen(msgspec.Struct, frozen=True):
    """A number as it was written, with its unit."""

    value: str
    unit: str


class Unmapped(msgspec.Struct, frozen=True):
    """One code nothing is known of (``code``), or a known test whose unit is not (``unit``, ``no_unit``).

    ``concept`` is what the test is, for units. ``samples`` are numbers as written, from the smallest to the
    largest; ``sources`` some of the resources, ``Type/id``. ``resources`` and ``people`` count all.
    """

    kind: Kind
    about: Class
    code: Coding
    concept: str
    unit: str
    resources: int
    people: int
    samples: tuple[Seen, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The same for the same code or unit in every screening."""
        return "|".join(
            (self.kind, self.code.system, self.code.code or self.code.display, self.concept, self.unit)
        )


class _Gathered:
    def __init__(self, display: str) -> None:
        self.display = display
        self.people: set[str] = set()
        self.sources: set[str] = set()
        self.seen: set[Seen] = set()


_Key = tuple[Kind, Class, str, str, str, str]


def unmapped(facts: Facts, terminology: Terminology) -> tuple[Unmapped, ...]:
    """The most people first, then the most resources; without what the tables know by now."""
    found: dict[_Key, _Gathered] = {}
    for key, row, seen in _rows(facts, terminology):
        gathered = found.setdefault(key, _Gathered(row.code.display))
        gathered.display = min(gathered.display, row.code.display) or row.code.display
        gathered.people.add(row.subject)
        gathered.sources.add(row.source.reference)
        if seen is not None:
            gathered.seen.add(seen)
    told = [_told(key, gathered) for key, gathered in found.items()]
    return tuple(sorted(told, key=lambda one: (-one.people, -one.resources, one.key)))


def _rows(
    facts: Facts, terminology: Terminology
) -> Iterator[tuple[_Key, Finding | Event | Intervention, Seen | None]]:
    for finding in facts.findings:
        seen = Seen(finding.original, finding.original_unit) if finding.original else None
        if finding.excluded == "UNMAPPED" and not _known(finding, terminology):
            yield _key("code", "finding", finding.code, terminology), finding, seen
        elif kind := _UNITS.get(finding.excluded):
            key = _key(kind, "finding", finding.code, terminology, finding.concept, finding.original_unit)
            yield key, finding, seen
    others: tuple[Event | Intervention, ...] = (*_of_interest(facts.events), *facts.interventions)
    for row in others:
        if "UNMAPPED_CODE" in row.flags and not _known(row, terminology):
            about: Class = "event" if isinstance(row, Event) else "intervention"
            yield _key("code", about, row.code, terminology), row, None


def _known(row: Finding | Event | Intervention, terminology: Terminology) -> bool:
    """Whether there is nothing to map: the code is known since, or there is neither code nor text."""
    code = row.code
    if isinstance(row, Intervention):
        return terminology.drug_for((code,), code.display) is not None
    known = terminology.concept_for_coding(code.system, code.code, code.display)
    return known is not None or not (code.code or code.display)


def _of_interest(events: Iterable[Event]) -> Iterator[Event]:
    return (one for one in events if one.category in _CATEGORIES)


def _key(
    kind: Kind, about: Class, code: Coding, terminology: Terminology, concept: str = "", unit: str = ""
) -> _Key:
    word = code.code or folded(code.display)
    return kind, about, code.system if code.code else "", word, concept, unit


def _told(key: _Key, gathered: _Gathered) -> Unmapped:
    kind, about, system, word, concept, unit = key
    uncoded = bool(word) and word == folded(gathered.display) and not system
    shown = gathered.display[:_TEXT] if not uncoded or len(gathered.people) > 1 else ""
    return Unmapped(
        kind,
        about,
        Coding(system, "" if uncoded else word, shown),
        concept,
        unit,
        len(gathered.sources),
        len(gathered.people),
        _spread(gathered.seen),
        tuple(sorted(gathered.sources)[:_SOURCES]),
    )


def _spread(seen: set[Seen]) -> tuple[Seen, ...]:
    """The extremes and what lies evenly between them."""
    ordered = sorted(seen, key=lambda one: (one.unit, len(one.value.split(".")[0]), one.value))
    if len(ordered) <= _SAMPLES:
        return tuple(ordered)
    return tuple(ordered[index * (len(ordered) - 1) // (_SAMPLES - 1)] for index in range(_SAMPLES))
