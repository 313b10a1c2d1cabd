"""Which records a rule looks at, and what it asks of them: selections of readings, tests, events, drugs.

Frozen and exact as everything a protocol says; the words are explained in ``docs/protocol-vocabulary.md``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal, TypeAlias

from adapter.model.nodes import Moment, Node, Period
from adapter.model.quantity import Comparison

Presence = Literal["present", "past", "unconfirmed", "refuted"]
Take = Literal["latest", "earliest", "highest", "lowest", "nearest", "mean", "median", "every", "any"]
DateRelation = Literal["before", "on_or_before", "after", "on_or_after"]
DrugSelector = Literal["drug", "role", "class"]
Silence = Literal["unknown", "absent_if_covered"]


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


class Timed(Node, frozen=True, kw_only=True):
    """When a drug level counts as a trough: hours since the last intake on record, both ends included.

    Within ``low``..``high`` it does, within ``wide_low``..``wide_high`` with APPROX, else it is no trough. An
    intake more than ``look_back`` hours before the sample is not the last one, it is the last one *known*:
    then only the ``named`` concepts (whose code says trough) count. ``steady_days`` is how long the dose has
    to be unchanged.
    """

    drugs: tuple[str, ...]
    low: Fraction
    high: Fraction
    wide_low: Fraction
    wide_high: Fraction
    look_back: Fraction
    named: tuple[str, ...] = ()
    steady_days: int = 0


class NotDuring(Node, frozen=True, kw_only=True):
    """Readings near an event or a drug exposure do not count.

    With a ``flag`` the reading counts as troubled (it might have decided); without, it is set aside.
    """

    condition: EventTest | ExposureTest
    margin_days: int = 0
    flag: str = ""


class Selection(Node, frozen=True, kw_only=True):
    """Which readings of which concepts are looked at, and which of them decides.

    ``name`` is its name under ``readings:``, if it has one. ``last`` keeps only so many of the newest.
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
    last: int = 0
    timed: Timed | None = None


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


class Beside(Node, frozen=True, kw_only=True):
    """What belongs to a reading, by the same resource or the same instant, passes a test of its own."""

    selection: Selection
    test: ReadingTest
