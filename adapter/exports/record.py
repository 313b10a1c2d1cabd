"""What one row of a dataset is made from: a person, a fact about them, and the term it maps to.

``COPYABLE`` is the whole list of what a specification may copy, and ``MAPPABLE`` adds what may leave
only through a table of known words. Ids, references, displays and free text are on neither, so no
mapping file can let them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import TypeAlias

import msgspec

from adapter.exports.codelists import Units
from adapter.exports.dataset import Cell
from adapter.exports.participation import (
    Disposition,
    LivedElement,
    Qualifier,
    Relation,
    SubjectVisit,
    VisitResponse,
)
from adapter.exports.pseudonym import Pseudonymiser
from adapter.exports.study import StudyConfig
from adapter.exports.trial_design import DESIGN_KINDS, Design
from adapter.model.dates import PartialDate
from adapter.model.facts import Event, Finding, Intervention


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A subject of the study as the datasets know them; texts are --DTC values, "" when unknown.

    ``doses`` are the study drug intakes that were seen and timed: (drug, when). ``unscheduled`` numbers the
    days of results that lie in the window of no visit.
    """

    usubjid: str
    subjid: str
    sex: str = "unknown"
    age: int | None = None
    consented: str = ""
    consent_day: date | None = None
    enrolled: bool = False
    enrolment_day: date | None = None
    screen_failure: bool = False
    arm_code: str = ""
    arm_name: str = ""
    deceased: bool = False
    death: str = ""
    first_dose: str = ""
    last_dose: str = ""
    first_dose_day: date | None = None
    last_dose_day: date | None = None
    reference_start: str = ""
    reference_end: str = ""
    reference_day: date | None = None
    last_contact: str = ""
    until: date | None = None
    doses: tuple[tuple[str, str], ...] = ()
    unscheduled: Mapping[date, Fraction] = {}

    @property
    def treated(self) -> bool:
        return bool(self.first_dose)


class Exposure(msgspec.Struct, frozen=True):
    """A constant-dose interval of a study drug; ``dose`` is per administration."""

    concept: str
    dose: Fraction | None
    dose_unit: str
    form: str
    frequency: str
    route: str
    start: str
    end: str
    kind: str
    sources: tuple[str, ...] = ()


class Unmet(msgspec.Struct, frozen=True):
    """A criterion that is not met: inclusion ``N``, exclusion ``Y``."""

    id: str
    text: str
    category: str
    result: str
    on: str


Lived: TypeAlias = LivedElement | SubjectVisit | Disposition | VisitResponse
Linked: TypeAlias = Relation | Qualifier
Fact: TypeAlias = Finding | Event | Intervention | Exposure | Unmet | Person | Lived | Linked | Design
Term: TypeAlias = Mapping[str, str]


class Record(msgspec.Struct, frozen=True):
    """Everything a variable may be made of. ``values`` holds this row's variables made so far.

    ``treatment`` is how the specification wants a troubled reading shown: "" (as it is), ``original
    only`` (no standardised result) or ``not done``.
    """

    person: Person
    fact: Fact
    term: Term
    study: StudyConfig
    units: Units
    pseudonyms: Pseudonymiser
    treatment: str = ""
    order: str = ""
    values: dict[str, Cell] = {}


NOBODY = Person(usubjid="", subjid="")
"""Whom rows of the trial design are about."""

_ROW_KINDS = (
    *("subjects", "findings", "events", "interventions", "exposures", "criteria", *DESIGN_KINDS),
    *("lived elements", "subject visits", "dispositions", "responses", "doses", "adverse events"),
    *("procedures", "microscopy", "relations", "qualifiers"),
)
_ANYWHERE = {
    *("person.usubjid", "person.subjid", "person.age", "person.consented", "person.death"),
    *("person.arm_code", "person.arm_name", "person.first_dose", "person.last_dose"),
    *("person.reference_start", "person.reference_end", "person.last_contact"),
    *("study.study_id", "study.site_id", "study.country", "study.race"),
}
_COPYABLE = {
    "findings": {"start", "end"},
    "events": {"start", "end", "recorded", "presence"},
    "interventions": {"start", "end", "kind"},
    "exposures": {"start", "end"},
    "criteria": {"id", "text", "category", "result", "on"},
    "arm elements": {"arm_code", "arm_name", "order", "code", "name", "epoch", "branch", "transition"},
    "elements": {"code", "name", "start", "end", "duration"},
    "planned visits": {"number", "name", "day", "start_rule", "end_rule"},
    "planned criteria": {"id", "text", "category", "version"},
    "parameters": {"parameter", "number", "value", "code", "terminology", "version"},
    "lived elements": {"code", "name", "order", "epoch", "start", "end", "unplanned"},
    "subject visits": {
        *("number", "name", "day", "occurred", "start", "end", "prespecified", "description"),
    },
    "dispositions": {"term", "decoded", "category", "subcategory", "on"},
    "responses": {"on"},
    "doses": {"start", "end"},
    "adverse events": {"start", "end", "recorded"},
    "procedures": {"start", "end"},
    "microscopy": {"start", "end"},
    "relations": {"domain", "variable", "value", "group"},
    "qualifiers": {"domain", "variable", "value", "name", "label", "text", "origin", "evaluator"},
}
_MAPPABLE = {
    "findings": {"answer", "interpretation", "specimen", "method", "absent_reason"},
    "events": {"status"},
    "interventions": {"route", "form", "frequency"},
    "exposures": {"route", "form", "frequency"},
    "doses": {"kind", "route", "form", "frequency"},
    "adverse events": {"severity", "seriousness", "outcome", "causality", "action"},
    "microscopy": {"method"},
    "responses": {"response"},
}

COPYABLE: dict[str, frozenset[str]] = {
    rows: frozenset(_ANYWHERE | {f"fact.{name}" for name in _COPYABLE.get(rows, ())}) for rows in _ROW_KINDS
}
MAPPABLE: dict[str, frozenset[str]] = {
    rows: COPYABLE[rows] | {"person.sex"} | {f"fact.{name}" for name in _MAPPABLE.get(rows, ())}
    for rows in _ROW_KINDS
}


def read(record: Record, path: str) -> Cell:
    """The value of ``person.x``, ``study.x``, ``fact.x`` or ``term.X`` as a cell; dates as ISO 8601."""
    head, _, name = path.partition(".")
    if head == "term":
        return record.term.get(name) or None
    owner = getattr(record, head)
    value = getattr(owner, name) if not isinstance(owner, Event) else _of_event(owner, name)
    if isinstance(value, PartialDate):
        return value.iso
    if isinstance(value, str | Fraction | int) or value is None:
        return value or None if isinstance(value, str) else value
    raise TypeError(f"{path} is no cell")


def _of_event(event: Event, name: str) -> object:
    """A field of the event, else one of its attributes."""
    return getattr(event, name) if name in event.__struct_fields__ else event.attribute(name)
