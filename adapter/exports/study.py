"""What an export has to know about the study and the site beyond the facts.

The study's half is data in ``mappings/protocols/<study>/sdtm.yaml``: arms, visit windows, the primary
diagnosis. The site's half (number, laboratories, enrolment log) and the protocol's words (criteria)
are added by the caller with ``msgspec.structs.replace``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from adapter.errors import MappingError
from adapter.exports.located import read_located
from adapter.exports.pseudonym import SubjectNumbers


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A planned arm: ``drugs`` are the study drugs by their key; ``aliases`` what hospitals call it."""

    code: str
    name: str
    drugs: tuple[str, ...]
    aliases: tuple[str, ...] = ()


class Visit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A planned visit: study days without a day 0, ``first`` and ``last`` inclusive."""

    number: int
    name: str
    target: int
    first: int
    last: int


class Element(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A planned element (TE) and its place in the arms (TA); ``arms`` empty means in every arm.

    ``duration`` is ISO 8601; ``branch`` says what leads to an arm after it, with ``{arm}`` for its name.
    """

    code: str
    name: str
    epoch: str
    start: str
    end: str = ""
    duration: str = ""
    arms: tuple[str, ...] = ()
    branch: str = ""
    transition: str = ""


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value of a trial summary parameter (TS), with its code where a terminology has one."""

    parameter: str
    value: str
    code: str = ""
    terminology: str = ""
    version: str = ""


class Criterion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A criterion as IE and TI report it; ``text`` of at most 200 characters."""

    id: str
    text: str
    category: Literal["INCLUSION", "EXCLUSION"]


class StudyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One study at one site.

    ``reference`` says what study day 1 is: the first dose, or the start of ResearchSubject.period.
    ``references`` are the ways ResearchSubject.study and Consent may name this study. ``laboratories``
    turns a laboratory as the source names it into the alias that may leave. ``versions`` go to the
    manifest as they are.
    """

    study_id: str
    arms: tuple[Arm, ...] = ()
    visits: tuple[Visit, ...] = ()
    primary_diagnoses: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    questionnaire: str = ""
    reference: Literal["first_dose", "enrolment"] = "first_dose"
    race: str = "NOT REPORTED"
    site_id: str = ""
    country: str = "CHN"
    criteria: tuple[Criterion, ...] = ()
    protocol_version: str = ""
    elements: tuple[Element, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    laboratories: dict[str, str] = {}
    numbers: SubjectNumbers = SubjectNumbers()
    versions: dict[str, str] = {}

    def means_this_study(self, reference: str) -> bool:
        """Whether a FHIR reference, canonical or identifier names this study."""
        name = reference.split("|")[0].removeprefix("ResearchStudy/")
        return bool(name) and name in (self.study_id, *self.references)

    def arm(self, name: str) -> Arm | None:
        wanted = name.strip().casefold()
        for arm in self.arms:
            if wanted in {text.casefold() for text in (arm.code, arm.name, *arm.aliases)}:
                return arm
        return None

    @property
    def study_drugs(self) -> frozenset[str]:
        return frozenset(drug for arm in self.arms for drug in arm.drugs)


def load_study(path: Path) -> StudyConfig:
    """Read ``sdtm.yaml`` of a protocol; raises :class:`MappingError` with file and line."""
    content = read_located(path)
    try:
        study = msgspec.convert(content.value, StudyConfig)
    except msgspec.ValidationError as fault:
        raise content.error_at(fault) from fault
    for index, visit in enumerate(study.visits):
        if not visit.first <= visit.target <= visit.last or 0 in (visit.first, visit.target, visit.last):
            raise MappingError(
                f"visit {visit.number} has no window around its target day",
                where=content.where("visits", index),
                fix="first <= target <= last, and study days have no day 0",
            )
    codes = {arm.code for arm in study.arms}
    for index, element in enumerate(study.elements):
        if unknown := set(element.arms) - codes:
            raise MappingError(
                f"element {element.code} is in no arm {', '.join(sorted(unknown))}",
                where=content.where("elements", index),
                fix=f"one of {', '.join(sorted(codes))}",
            )
    return study
