"""The parts of a protocol rule as meaning: named days and conditions.

Everything is frozen, every number is an exact Fraction in the canonical unit of its concept, and
``where`` (``file:line:column``) never takes part in meaning. The words that produce these nodes are
explained in ``docs/protocol-vocabulary.md``.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from adapter.model.course import ArmIs, DoseChanged, DoseIs, EligibilityIs, GapIs, LadderIs, ResponseIs
from adapter.model.decision import Verdict
from adapter.model.nodes import Duration, Moment, Node, Period
from adapter.model.quantity import Comparison
from adapter.model.selection import (
    Beside,
    Bound,
    DateRelation,
    EventTest,
    ExposureTest,
    ReadingTest,
    Selection,
)


class AsOf(Node, frozen=True, kw_only=True):
    """Anchor: the day the assessment speaks of."""


class BirthDay(Node, frozen=True, kw_only=True):
    """Anchor: the day of birth."""


class AttestedDay(Node, frozen=True, kw_only=True):
    """Anchor: a date that a person answered in the questionnaire."""

    link: str


class EventDay(Node, frozen=True, kw_only=True):
    """Anchor: the start (or end) of the earliest or latest event of some concepts, which are recorded in
    ``resource_types``."""

    unsaid: ClassVar[tuple[str, ...]] = ("where", "resource_types")

    concepts: tuple[str, ...]
    take: Literal["earliest", "latest"] = "latest"
    edge: Literal["start", "end"] = "start"
    having: tuple[tuple[str, str], ...] = ()
    resource_types: tuple[str, ...] = ()


class ExposureDay(Node, frozen=True, kw_only=True):
    """Anchor: the first (or last) day of the earliest or latest usable exposure to some drugs."""

    drugs: tuple[str, ...]
    label: str = ""
    take: Literal["earliest", "latest"] = "latest"
    edge: Literal["start", "end"] = "start"
    period: Period = Period()


class ReadingDay(Node, frozen=True, kw_only=True):
    """Anchor: the day of a selected reading, if ``test`` (when given) holds for it."""

    selection: Selection
    test: ReadingTest | None = None


class AnchorDay(Node, frozen=True, kw_only=True):
    """Anchor: another anchor, moved."""

    moment: Moment


class FirstKnown(Node, frozen=True, kw_only=True):
    """Anchor: the first of several that is known."""

    options: tuple[AnchorRule, ...]


class EarliestOf(Node, frozen=True, kw_only=True):
    """Anchor: the earliest of those that are known."""

    options: tuple[AnchorRule, ...]


AnchorRule: TypeAlias = (
    AsOf | BirthDay | AttestedDay | EventDay | ExposureDay | ReadingDay | AnchorDay | FirstKnown | EarliestOf
)


# --- conditions -------------------------------------------------------------------------------------


class AllOf(Node, frozen=True, kw_only=True):
    parts: tuple[Condition, ...]


class AnyOf(Node, frozen=True, kw_only=True):
    parts: tuple[Condition, ...]


class SomeOf(Node, frozen=True, kw_only=True):
    """At least so many of the parts are true."""

    parts: tuple[Condition, ...]
    count: int


class Not(Node, frozen=True, kw_only=True):
    part: Condition


class Implies(Node, frozen=True, kw_only=True):
    guard: Condition
    then: Condition


class CriterionIs(Node, frozen=True, kw_only=True):
    """The verdict of another criterion: ``met``; or, two-valued, that it is ``not_met``/``unknown``."""

    id: str
    verdict: Verdict = Verdict.MET


class ReadingIs(Node, frozen=True, kw_only=True):
    """A selected reading passes a test."""

    selection: Selection
    test: ReadingTest


class Attested(Node, frozen=True, kw_only=True):
    """What a person answered in the questionnaire passes a test."""

    link: str
    test: ReadingTest


class Apart(Node, frozen=True, kw_only=True):
    """How far apart two readings are: in calendar days, or in hours by their times."""

    at_least: int | None = None
    at_most: int | None = None
    unit: Literal["days", "hours"] = "days"


class Change(Node, frozen=True, kw_only=True):
    """A fall or rise between two selected readings of one series.

    In percent of the first, or, if ``bound`` has another unit than %, as a difference in that unit.
    """

    direction: Literal["fall", "rise"]
    start: Selection
    end: Selection
    bound: Bound
    series: tuple[str, ...] = ()
    same_series: bool = False
    reaching: Bound | None = None
    apart: Apart | None = None


class Repeated(Node, frozen=True, kw_only=True):
    """So many readings pass the test, each a given time after the one before."""

    selection: Selection
    test: ReadingTest
    readings: int
    apart_at_least: int = 0
    apart_at_most: int | None = None
    beside: tuple[Beside, ...] = ()


class Share(Node, frozen=True, kw_only=True):
    """At least this share of the readings passes the test."""

    selection: Selection
    test: ReadingTest
    bound: Bound
    beside: tuple[Beside, ...] = ()


class Age(Node, frozen=True, kw_only=True):
    """Age in completed years on a day."""

    at: Moment
    bounds: tuple[tuple[Comparison, int], ...]


class SexIs(Node, frozen=True, kw_only=True):
    sex: Literal["male", "female"]


class Deceased(Node, frozen=True, kw_only=True):
    """Died before a day."""

    before: Moment


class Elapsed(Node, frozen=True, kw_only=True):
    """Time from one day to another, in days or calendar months."""

    since: Moment
    until: Moment
    bounds: tuple[tuple[Literal["more_than", "at_least", "less_than", "at_most"], Duration], ...]


class DayIs(Node, frozen=True, kw_only=True):
    """One day stands in a relation to another."""

    moment: Moment
    relation: DateRelation
    other: Moment


Condition: TypeAlias = (
    AllOf
    | AnyOf
    | SomeOf
    | Not
    | Implies
    | CriterionIs
    | ReadingIs
    | Attested
    | Change
    | Repeated
    | Share
    | Age
    | SexIs
    | Deceased
    | Elapsed
    | DayIs
    | EventTest
    | ExposureTest
    | ResponseIs
    | DoseIs
    | DoseChanged
    | GapIs
    | LadderIs
    | ArmIs
    | EligibilityIs
)
