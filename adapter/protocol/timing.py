"""Whether a drug level is a trough: the hours between the last intake on record and the sample.

A level that was taken at a time known to be another one is no trough whatever its code says; one whose time
of intake is not known is a trough only if its code says so. Source: the wording of the EU SmPC of tacrolimus
("12 hours post-dosing, just prior to the next dose"); widths are the protocol file's.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Literal

import msgspec

from adapter.model.dates import add_days
from adapter.model.facts import Finding
from adapter.model.selection import Timed
from adapter.protocol.context import Context
from adapter.protocol.doses import dose_on


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What may be done with one level, and why."""

    verdict: Literal["valid", "troubled", "ignored"]
    why: str = ""
    flags: tuple[str, ...] = ()


def timing_of(row: Finding, timed: Timed, context: Context) -> Standing:
    hours = hours_after_intake(row, timed, context)
    if hours is None:
        if row.concept not in timed.named:
            return Standing("troubled", "UNTIMED")
        return Standing("valid", flags=("TROUGH_BY_NAME", *_unsteady(row, timed, context)))
    if timed.low <= hours <= timed.high:
        return Standing("valid", flags=_unsteady(row, timed, context))
    if timed.wide_low <= hours <= timed.wide_high:
        return Standing("valid", flags=("APPROX", *_unsteady(row, timed, context)))
    return Standing("ignored", "NON_TROUGH")


def hours_after_intake(row: Finding, timed: Timed, context: Context) -> Fraction | None:
    """Exact hours since the last intake before the sample, if both are on record and belong together."""
    sampled = row.when.at if row.when is not None else None
    if sampled is None:
        return None
    intakes = [
        taken
        for given in context.record.interventions
        if given.concept in timed.drugs and given.kind == "administration" and not given.excluded
        if given.start is not None and (taken := given.start.at) is not None and taken < sampled
    ]
    if not intakes:
        return None
    hours = _hours(max(intakes), sampled)
    return hours if hours <= timed.look_back else None


def _hours(start: datetime, end: datetime) -> Fraction:
    return Fraction((end - start) // timedelta(microseconds=1), 3_600_000_000)


def _unsteady(row: Finding, timed: Timed, context: Context) -> tuple[str, ...]:
    """NOT_STEADY unless the same daily dose is on record for each of the days before the sample."""
    if not timed.steady_days or row.when is None:
        return ()
    day: date = row.when.first
    doses = {
        dose_on(timed.drugs, add_days(day, -back), context).value for back in range(1, timed.steady_days + 1)
    }
    return () if len(doses) == 1 and None not in doses else ("NOT_STEADY",)
