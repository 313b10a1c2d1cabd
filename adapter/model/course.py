"""Conditions about what happens after entry: response at a visit, doses, gaps, ladders, the arm.

They stand beside those of :mod:`adapter.model.rules` and are frozen and exact in the same way. The words
that produce them are explained in ``docs/protocol-vocabulary.md``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from adapter.model.decision import Overall
from adapter.model.nodes import Moment, Node, Period
from adapter.model.quantity import Comparison
from adapter.model.selection import Bound, Selection

ResponseWord = Literal["complete", "partial", "none", "relapse", "unknown"]
DoseTake = Literal["first", "latest", "highest", "lowest", "total"]
DoseDirection = Literal["reduction", "increase", "any"]
EARLIER = "earlier"
"""``at: earlier`` asks about any visit planned before the one in hand."""


class ResponseIs(Node, frozen=True, kw_only=True):
    """The response at the visit in hand, at a named visit, or at any earlier one, is one of these.

    ``unknown`` among the states makes that part two-valued: whether the response is not known.
    """

    states: tuple[ResponseWord, ...]
    at: str = ""


class DoseOf(Node, frozen=True, kw_only=True):
    """A daily dose of some drugs in a period, or (``total``) all of it.

    Per kilogram if a reading of the weight is named, per square metre if one of the ``height`` is named too.
    """

    drugs: tuple[str, ...]
    label: str = ""
    take: DoseTake = "latest"
    period: Period = Period()
    weight: Selection | None = None
    height: Selection | None = None


class DoseTarget(Node, frozen=True, kw_only=True):
    """A dose by weight, capped, within a tolerance for the size of the tablets; all in mg/d."""

    per_kg: Fraction
    tolerance: Fraction = Fraction(0)
    at_most: Fraction | None = None


class DoseIs(Node, frozen=True, kw_only=True):
    """A daily dose passes a test: bounds in ``unit``, or a target by weight."""

    dose: DoseOf
    bounds: tuple[Bound, ...] = ()
    target: DoseTarget | None = None
    unit: str = "mg/d"


class DoseChanged(Node, frozen=True, kw_only=True):
    """The daily dose was changed in a period."""

    drugs: tuple[str, ...]
    label: str = ""
    direction: DoseDirection = "any"
    period: Period = Period()


class LadderIs(Node, frozen=True, kw_only=True):
    """A ladder stands in one of these states."""

    ladder: str
    states: tuple[str, ...]


class GapIs(Node, frozen=True, kw_only=True):
    """The longest run of days without the drugs; days while a ladder holds the drug do not count."""

    drugs: tuple[str, ...]
    label: str = ""
    period: Period = Period()
    comparison: Comparison = "above"
    days: int = 0
    holds: tuple[LadderIs, ...] = ()


class ArmIs(Node, frozen=True, kw_only=True):
    """The subject was assigned to one of these arms."""

    arms: tuple[str, ...]


class EligibilityIs(Node, frozen=True, kw_only=True):
    """The overall eligibility, by what is known now, as of another day."""

    overall: Overall
    at: Moment


CourseCondition = ResponseIs | DoseIs | DoseChanged | GapIs | LadderIs | ArmIs | EligibilityIs
