"""The parts of a protocol rule as meaning: times, values, selections of readings, conditions.

Everything is frozen, every number is an exact Fraction in the canonical unit of its concept, and
``where`` (``file:line:column``) never takes part in meaning. The words that produce these nodes are
explained in ``docs/protocol-vocabulary.md``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal, TypeAlias

from adapter.model.course import (
    ArmIs,
    DoseChanged,
    DoseIs,
    EligibilityIs,
    GapIs,
    LadderIs,
    ResponseIs,
    Timed,
)
from adapter.model.decision import Verdict
from adapter.model.nodes import Duration, Moment, Node, Period
from adapter.model.quantity import Comparison

Presence = Literal["present", "past", "unconfirmed", "refuted"]
Take = Literal["latest", "earliest", "highest", "lowest", "nearest", "every", "any"]
DateRelation = Literal["before", "on_or_before", "after", "on_or_after"]
DrugSelector = Literal["drug", "role", "class"]
Silence = Literal["unknown", "absent_if_covered"]


class AsOf(Node, frozen=True, kw_only=True):
    """Anchor: the day the assessment speaks of."""


class BirthDay(Node, frozen=True, kw_only=True):
    """Anchor: the day of birth."""


class AttestedDay(Node, frozen=True, kw_only=True):
    """Anchor: a date that a person answered in the questionnaire."""

    link: str


class EventDay(Node, frozen=True, kw_only=True):
    """Anchor: the start (or end) of the earliest or latest event of some concepts."""

    concepts: tuple[str, ...]
    take: Literal["earliest", "latest"] = "latest"
    edge: Literal["start", "end"] = "start"
    having: tuple[tuple[str, str], ...] = ()


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


# --- values -----------------------------------------------------------------------------------------


class Amount(Node, frozen=True, kw_only=True):
    """A threshold: a number in the canonical ``unit``, or ``value`` times a limit or a named reading."""

    unsaid: ClassVar[tuple[str, ...]] = ("where", "text")
    value: Fraction
    unit: str = ""
    of: Literal["", "upper_limit", "lower_limit", "reading"] = ""
    reading: str = ""
    text: str = ""


class Bound(Node, frozen=True, kw_only=True):
    """One comparison, strict (above, below) or inclusive (at_least, at_most)."""

    comparison: Comparison
    amount: Amount


class Bounds(Node, frozen=True, kw_only=True):
    """All comparisons must hold. ``words`` gives texts such as "mild" the range they stand for."""

    bounds: tuple[Bound, ...]
    words: tuple[tuple[str, str], ...] = ()


class Answers(Node, frozen=True, kw_only=True):
    """The qualitative answer is one of these (``positive`` includes weak positives)."""

    answers: tuple[str, ...]


class Codes(Node, frozen=True, kw_only=True):
    """The coded answer is one of these."""

    codes: tuple[str, ...]


class MeasuredBy(Node, frozen=True, kw_only=True):
    """The record names one of these methods. Two-valued: no method recorded is none of them."""

    methods: tuple[str, ...]


class Exists(Node, frozen=True, kw_only=True):
    """A usable reading or answer exists, whatever it says."""


class DayTest(Node, frozen=True, kw_only=True):
    """The answered date stands in this relation to a moment."""

    relation: DateRelation
    moment: Moment


ReadingTest: TypeAlias = Bounds | Answers | Codes | MeasuredBy | Exists | DayTest


class NotDuring(Node, frozen=True, kw_only=True):
    """Readings near an event or a drug exposure do not count.

    With a ``flag`` the reading counts as troubled (it might have decided); without, it is set aside.
    """

    condition: EventTest | ExposureTest
    margin_days: int = 0
    flag: str = ""


class Selection(Node, frozen=True, kw_only=True):
    """Which readings of which concepts are looked at, and which of them decides.

    ``name`` is its name under ``readings:``, if it has one.
    """

    concepts: tuple[str, ...]
    label: str = ""
    name: str = ""
    take: Take = "latest"
    near: Moment | None = None
    period: Period = Period()
    methods: tuple[str, ...] = ()
    not_during: tuple[NotDuring, ...] = ()
    support: tuple[str, ...] = ()
    minimum: int = 1
    timed: Timed | None = None


# --- conditions -------------------------------------------------------------------------------------


class AllOf(Node, frozen=True, kw_only=True):
    parts: tuple[Condition, ...]


class AnyOf(Node, frozen=True, kw_only=True):
    parts: tuple[Condition, ...]


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


class Change(Node, frozen=True, kw_only=True):
    """A fall or rise between two selected readings of one series, as a share of the first."""

    direction: Literal["fall", "rise"]
    start: Selection
    end: Selection
    bound: Bound
    series: tuple[str, ...] = ()
    same_series: bool = False
    reaching: Bound | None = None


class Repeated(Node, frozen=True, kw_only=True):
    """So many readings pass the test, each a given time after the one before."""

    selection: Selection
    test: ReadingTest
    readings: int
    apart_at_least: int = 0
    apart_at_most: int | None = None


class Share(Node, frozen=True, kw_only=True):
    """At least this share of the readings passes the test."""

    selection: Selection
    test: ReadingTest
    bound: Bound


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


class EventTest(Node, frozen=True, kw_only=True):
    """An event of some concepts exists, with a presence, overlapping a period.

    ``concepts`` are the named ones and those narrower than they. ``silence`` says what no such event
    means: unknown, absent if the ``resource_types`` were covered, or (``absent``) plainly absent
    because another condition beside this one carries a person's word for it.
    """

    concepts: tuple[str, ...]
    label: str = ""
    presence: tuple[Presence, ...] = ("present",)
    period: Period = Period()
    timing: Literal["overlap", "onset", "end"] = "overlap"
    category: str = ""
    having: tuple[tuple[str, str], ...] = ()
    lacking: tuple[tuple[str, str], ...] = ()
    silence: Silence | Literal["absent"] = "unknown"
    resource_types: tuple[str, ...] = ()


class ExposureTest(Node, frozen=True, kw_only=True):
    """A drug of some selection was taken in a period (first to last day of exposure overlaps it)."""

    by: DrugSelector
    names: tuple[str, ...]
    label: str = ""
    other_than: tuple[str, ...] = ()
    period: Period = Period()
    systemic: bool = False
    kinds: tuple[str, ...] = ()
    single_day: bool = False
    silence: Silence | Literal["absent"] = "unknown"


Condition: TypeAlias = (
    AllOf
    | AnyOf
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
