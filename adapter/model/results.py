"""The trial's outcomes by arm: how many, of how many, how sure, and who.

Proportions and limits are rounded to four places, as they are printed in tables of a trial report; counts
are exact. Nobody is named but by subject id.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal

import msgspec

# evaluated: everyone with a known verdict; itt: everyone randomised, where missing counts as not met.
Population = Literal["evaluated", "itt"]
Standing = Literal["met", "not_met", "missing", "not_applicable"]


class Interval(msgspec.Struct, frozen=True):
    """A 95 % confidence interval of a proportion (0..1) or of a difference of proportions (-1..1)."""

    low: Decimal
    high: Decimal


class Rate(msgspec.Struct, frozen=True):
    """How many ``met`` the outcome ``of`` those who count; no proportion where nobody counts.

    The interval is exact (Clopper and Pearson, Biometrika 1934;26:404).
    """

    arm: str
    population: Population
    met: int
    of: int
    proportion: Decimal | None = None
    interval: Interval | None = None


class Difference(msgspec.Struct, frozen=True):
    """Rate of ``arm`` less rate of ``against``; the interval is Newcombe's hybrid score interval
    (method 10, Stat Med 1998;17:873)."""

    arm: str
    against: str
    population: Population
    difference: Decimal
    interval: Interval


class SubjectOutcome(msgspec.Struct, frozen=True):
    """One subject's place in the table and the records it rests on ("Observation/x/_history/2").

    ``open`` is true for a missing one whose last visit may still come.
    """

    subject: str
    arm: str
    standing: Standing
    open: bool = False
    flags: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


class ArmCount(msgspec.Struct, frozen=True):
    """``randomised`` = evaluated + missing + not_applicable; ``open`` are those missing who may yet come."""

    arm: str
    randomised: int
    evaluated: int
    missing: int
    open: int
    not_applicable: int


class Outcome(msgspec.Struct, frozen=True):
    """One row of the table: an endpoint, or several of which any counts (``of``)."""

    id: str
    of: tuple[str, ...]
    counts: tuple[ArmCount, ...]
    rates: tuple[Rate, ...]
    differences: tuple[Difference, ...]
    subjects: tuple[SubjectOutcome, ...]


class ResultsTable(msgspec.Struct, frozen=True):
    """All outcomes of one protocol version as of one day; ``arms`` in the protocol's order."""

    protocol: str
    protocol_version: str
    as_of: date | None
    arms: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
