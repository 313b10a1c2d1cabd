"""A trial protocol as data: criteria with decision lines, named anchors, windows and readings.

:mod:`adapter.protocol.load` builds these nodes from ``protocol.yaml``; the checks, the evaluator and
later renderers only read them. What a rule consists of is in :mod:`adapter.model.rules`; what a
protocol may name is its :class:`Vocabulary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Literal

import msgspec

from adapter.model.course import ResponseWord
from adapter.model.decision import Kind, Verdict
from adapter.model.nodes import Moment, Node, Offset, Period
from adapter.model.rules import AnchorRule, Condition
from adapter.model.selection import Selection, Silence
from adapter.model.wording import folded

Severity = Literal["", "low", "medium", "high"]


class Line(Node, frozen=True, kw_only=True):
    """One line of a decision table: if the condition is known to be true, this is the verdict."""

    verdict: Verdict
    when: Condition
    flags: tuple[str, ...] = ()
    review: bool = False
    because: str = ""


class FlagRule(Node, frozen=True, kw_only=True):
    """Shows a flag when a condition is true; never changes a verdict."""

    name: str
    when: Condition
    review: bool = False


class OtherReading(Node, frozen=True, kw_only=True):
    """Another reading of the same sentence, evaluated beside the default."""

    name: str
    reading: str
    lines: tuple[Line, ...]
    review: bool = False


class Criterion(Node, frozen=True, kw_only=True):
    """One sentence of the protocol; ``simple`` is true when it was written as ``met_when``.

    ``visit`` and ``severity`` belong to what is monitored: the planned visit whose window the rule looks at,
    and how urgent it is when met.
    """

    id: str
    kind: Kind
    text: str
    text_zh: str = ""
    source: str = ""
    lines: tuple[Line, ...]
    simple: bool = False
    flags: tuple[FlagRule, ...] = ()
    alternatives: tuple[OtherReading, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    pending: bool = False
    settles: str = ""
    settles_zh: str = ""
    visit: str = ""
    severity: Severity = ""

    def walk(self) -> tuple[Criterion, ...]:
        return (self, *(found for child in self.criteria for found in child.walk()))


class Named(Node, frozen=True, kw_only=True):
    """A name given at the top of the file to an anchor, a window or a selection."""

    name: str
    rule: AnchorRule | Period | Selection


class Arm(Node, frozen=True, kw_only=True):
    """One arm; ``aliases`` are other texts that hospitals write in ``ResearchSubject.assignedArm``."""

    code: str
    title: str
    aliases: tuple[str, ...] = ()


class Study(Node, frozen=True, kw_only=True):
    identifier: str = ""
    enrolment: int | None = None
    arms: tuple[Arm, ...] = ()

    def arm_called(self, text: str) -> str:
        """The code of the arm with this code, title or alias, in any letter case; "" if there is none."""
        wanted = folded(text)
        return next(
            (arm.code for arm in self.arms if wanted in map(folded, (arm.code, arm.title, *arm.aliases))), ""
        )


class Candidates(Node, frozen=True, kw_only=True):
    """Who is worth a look: anyone with a row of one of these concepts, usable or not.

    ``unless`` drops those for whom, once their records are read, it is known to be true.
    """

    events: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    drugs: tuple[str, ...] = ()
    unless: Condition | None = None


class Planned(Node, frozen=True, kw_only=True):
    """Something with a target day and a window ``first``..``last``, both included, counted from one day."""

    id: str
    day: Offset
    first: Offset
    last: Offset
    source: str = ""

    def days(self, start: date) -> tuple[date, date, date]:
        """Target, first and last day."""
        return self.day.after(start), self.first.after(start), self.last.after(start)


class Visit(Planned, frozen=True, kw_only=True):
    """A planned visit, counted from day zero.

    ``reading`` is the selection whose reading in the window is what the visit is for.
    """

    name: str
    name_zh: str = ""
    reading: str = ""


class OtherResponse(Node, frozen=True, kw_only=True):
    """Another reading of the same line of the response table."""

    name: str
    reading: str
    when: Condition


class ResponseLine(Node, frozen=True, kw_only=True):
    """One line of the response table: the first state whose condition is known to be true holds."""

    state: ResponseWord
    when: Condition
    because: str = ""
    source: str = ""
    alternatives: tuple[OtherResponse, ...] = ()


class DueRule(Planned, frozen=True, kw_only=True):
    """Something the protocol wants between two days, once, if ``when`` holds.

    Days count from ``after``, or from day zero.
    """

    what: str
    what_zh: str = ""
    after: Moment | None = None
    when: Condition | None = None
    done_when: Condition | None = None


class Plan(Node, frozen=True, kw_only=True):
    """What is watched after entry; ``day_zero`` is the anchor that the days of visits count from.

    Nothing becomes due whose window begins after ``until``.
    """

    day_zero: str = ""
    until: Moment | None = None
    endpoints: tuple[Criterion, ...] = ()
    exits: tuple[Criterion, ...] = ()
    doses: tuple[Criterion, ...] = ()
    safety: tuple[Criterion, ...] = ()
    deviations: tuple[Criterion, ...] = ()
    responses: tuple[ResponseLine, ...] = ()
    due: tuple[DueRule, ...] = ()

    def walk(self) -> tuple[Criterion, ...]:
        tops = (*self.endpoints, *self.exits, *self.doses, *self.safety, *self.deviations)
        return tuple(found for top in tops for found in top.walk())


class Protocol(Node, frozen=True, kw_only=True):
    """A whole protocol file. ``counts`` are the criteria that make the overall verdict.

    ``walk`` goes through eligibility alone, ``every`` through what is monitored as well.
    """

    id: str
    version: str
    title: str
    title_zh: str = ""
    source: str = ""
    questionnaire: str = ""
    study: Study = Study()
    anchors: tuple[Named, ...] = ()
    windows: tuple[Named, ...] = ()
    readings: tuple[Named, ...] = ()
    candidates: Candidates = Candidates()
    criteria: tuple[Criterion, ...]
    counts: tuple[str, ...]
    reported: tuple[str, ...]
    visits: tuple[Visit, ...] = ()
    plan: Plan = Plan()

    def walk(self) -> tuple[Criterion, ...]:
        return tuple(found for top in self.criteria for found in top.walk())

    def every(self) -> tuple[Criterion, ...]:
        return (*self.walk(), *self.plan.walk())

    def criterion(self, criterion_id: str) -> Criterion:
        for found in self.every():
            if found.id == criterion_id:
                return found
        raise KeyError(criterion_id)


class UnitScale(msgspec.Struct, frozen=True):
    """``canonical = value * factor + offset``, exact."""

    factor: Fraction
    offset: Fraction = Fraction(0)


class ConceptInfo(msgspec.Struct, frozen=True):
    """One concept of ``mappings/concepts.yaml`` as a protocol sees it.

    ``kind`` says in which table its rows are; ``unit`` is canonical (UCUM, "" for none or for
    qualitative concepts); ``low``/``high`` bound what is physically plausible, in that unit;
    ``broader`` are concepts for which this one is also evidence;
    ``resource_types`` are what must be covered before silence may count as absence; ``decides`` is
    false when no code of the concept is verified well enough to decide.
    """

    key: str
    kind: Literal["finding", "event"]
    label: str = ""
    unit: str = ""
    low: Fraction | None = None
    high: Fraction | None = None
    silence: Silence = "unknown"
    resource_types: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    support: tuple[str, ...] = ()
    broader: tuple[str, ...] = ()
    decides: bool = True


class DrugInfo(msgspec.Struct, frozen=True):
    """One drug key of ``mappings/drugs.csv`` with its role and classes."""

    key: str
    label: str = ""
    role: str = ""
    classes: tuple[str, ...] = ()
    silence: Silence = "unknown"


class Vocabulary(msgspec.Struct, frozen=True):
    """Everything a protocol file may name; built from the mapping files by the pipeline.

    ``units`` maps (concept, unit spelling) to the exact step to the canonical unit; the canonical
    unit itself need not be listed.
    """

    concepts: Mapping[str, ConceptInfo]
    drugs: Mapping[str, DrugInfo] = {}
    units: Mapping[tuple[str, str], UnitScale] = {}

    def of_kind(self, kind: Literal["finding", "event"]) -> tuple[str, ...]:
        return tuple(sorted(key for key, concept in self.concepts.items() if concept.kind == kind))

    def roles(self) -> tuple[str, ...]:
        return tuple(sorted({drug.role for drug in self.drugs.values() if drug.role}))

    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({name for drug in self.drugs.values() for name in drug.classes}))

    def with_narrower(self, concept: str) -> tuple[str, ...]:
        """The concept and every concept that is evidence for it, the concept itself first."""
        found = [concept]
        for name in found:
            found += sorted(
                key for key, info in self.concepts.items() if name in info.broader and key not in found
            )
        return tuple(found)

    def scale(self, concept: str, unit: str) -> UnitScale | None:
        """The step from ``unit`` to the canonical unit of the concept; None if it does not convert."""
        known = self.concepts.get(concept)
        if known is not None and unit == known.unit:
            return UnitScale(Fraction(1))
        return self.units.get((concept, unit))
