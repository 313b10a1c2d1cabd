"""Trial design rows (TA, TE, TV, TI, TS): what the protocol plans, whoever takes part.

They are made from the study alone, so they are the same for every site and snapshot of one protocol
version. Source: SDTMIG 3.4, section 7.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal, TypeAlias, get_args

import msgspec

from adapter.exports.codelists import folded
from adapter.exports.study import Element, Parameter, StudyConfig

DesignKind = Literal["arm elements", "elements", "planned visits", "planned criteria", "parameters"]
DESIGN_KINDS: tuple[DesignKind, ...] = get_args(DesignKind)


class ArmElement(msgspec.Struct, frozen=True):
    """One element at its place in one arm."""

    arm_code: str
    arm_name: str
    order: int
    code: str
    name: str
    epoch: str
    branch: str
    transition: str


class PlannedVisit(msgspec.Struct, frozen=True):
    """One planned visit, the same in every arm; the rules name its window in study days."""

    number: int
    name: str
    day: int
    start_rule: str
    end_rule: str


class PlannedCriterion(msgspec.Struct, frozen=True):
    """One eligibility criterion of a version of the protocol."""

    id: str
    text: str
    category: str
    version: str


class SummaryValue(msgspec.Struct, frozen=True):
    """One value of a trial summary parameter; ``number`` counts the values of the same parameter."""

    parameter: str
    number: int
    value: str
    code: str = ""
    terminology: str = ""
    version: str = ""


Design: TypeAlias = ArmElement | Element | PlannedVisit | PlannedCriterion | SummaryValue


def design_rows(kind: DesignKind, study: StudyConfig) -> Iterator[Design]:
    """What the rows of one trial design dataset are made from, in the order of the protocol."""
    match kind:
        case "arm elements":
            yield from _arm_elements(study)
        case "elements":
            yield from study.elements
        case "planned visits":
            for visit in study.visits:
                start, end = f"Study day {visit.first}", f"Study day {visit.last}"
                yield PlannedVisit(visit.number, visit.name, visit.target, start, end)
        case "planned criteria":
            for one in study.criteria:
                yield PlannedCriterion(one.id, folded(one.text), one.category, study.protocol_version)
        case "parameters":
            yield from _summary((*study.parameters, Parameter("NARMS", str(len(study.arms)))))


def summary_of(title: str, enrolment: int | None) -> Iterator[Parameter]:
    """The parameters that the protocol file itself knows."""
    yield Parameter("TITLE", title)
    if enrolment is not None:
        yield Parameter("PLANSUB", str(enrolment))


def _arm_elements(study: StudyConfig) -> Iterator[ArmElement]:
    for arm in study.arms:
        own = (element for element in study.elements if not element.arms or arm.code in element.arms)
        for order, element in enumerate(own, start=1):
            yield ArmElement(
                arm.code,
                arm.name,
                order,
                element.code,
                element.name,
                element.epoch,
                element.branch.replace("{arm}", arm.name),
                element.transition,
            )


def _summary(parameters: tuple[Parameter, ...]) -> Iterator[SummaryValue]:
    told: Counter[str] = Counter()
    for one in sorted(parameters, key=lambda one: one.parameter):
        told[one.parameter] += 1
        yield SummaryValue(
            one.parameter, told[one.parameter], folded(one.value), one.code, one.terminology, one.version
        )
