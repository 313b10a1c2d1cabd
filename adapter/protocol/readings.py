"""Which readings of a concept count, and which of them decides.

A reading is *valid*, *troubled* (it might have decided, but its unit, value or date cannot be relied
on), *support* (shown, never decides) or *ignored*. Rows that only repeat or take back another say
nothing and are ignored. The most recent valid reading decides; a newer troubled one is shown as a flag,
and a newer conflict leaves the question open.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from typing import Literal

import msgspec

from adapter.model.dates import PartialDate
from adapter.model.decision import Evidence
from adapter.model.facts import Finding
from adapter.model.kept import kept
from adapter.model.kleene import Truth
from adapter.model.nodes import Period
from adapter.model.quantity import Interval
from adapter.model.selection import Bounds, Codes, Exists, MeasuredBy, NotDuring, ReadingTest, Selection
from adapter.protocol.averages import AVERAGES, averaged
from adapter.protocol.context import Context
from adapter.protocol.days import Frame, Span
from adapter.protocol.occurrences import near_occurrence
from adapter.protocol.saying import say
from adapter.protocol.timing import timing_of

TROUBLES = frozenset(
    {
        "UNIT_MISSING",
        "UNIT_UNKNOWN",
        "IMPLAUSIBLE",
        "PRELIMINARY",
        "CONFLICT",
        "UNPARSED_TEXT",
        "SPECIMEN_MISMATCH",
        "CODE_CONFLICT",
        "NO_VALUE",
        "NO_DATE",
        "DURATION_OUTSIDE",
        "NO_VOLUME",
        "UNTIMED",
        "AGE_NOT_ADULT",
    }
)


class Pool(msgspec.Struct, frozen=True, dict=True):
    """The readings a selection looks at, apart by what may be done with them."""

    frame: Frame | None
    valid: tuple[Finding, ...] = ()
    troubled: tuple[tuple[Finding, str], ...] = ()
    support: tuple[Finding, ...] = ()
    ignored: tuple[tuple[Finding, str], ...] = ()
    outside: Finding | None = None

    @kept
    def others(self) -> tuple[Evidence, ...]:
        """Evidence for everything that did not decide, whatever is asked of the readings that do."""
        rows = [evidence_of(row, "ignored", why=why) for row, why in self.troubled]
        rows += [evidence_of(row, "ignored", why=why) for row, why in self.ignored]
        rows += [evidence_of(row, "support", why=say("support only")) for row in self.support]
        if self.outside is not None and not self.valid:
            rows.append(evidence_of(self.outside, "ignored", why=say("outside the window")))
        return tuple(rows)


def collect(selection: Selection, context: Context) -> Pool:
    """Sort every reading of the selection's concepts by whether it may decide."""
    frame = context.frame(selection.period)
    if frame is None:
        return Pool(None)
    return context.once(("pool", selection, frame), lambda: _collected(selection, frame, context))


def _collected(selection: Selection, frame: Frame, context: Context) -> Pool:
    valid: list[Finding] = []
    troubled: list[tuple[Finding, str]] = []
    ignored: list[tuple[Finding, str]] = []
    support = _support(selection, frame, context)
    outside = None
    for row in context.record.readings(selection.concepts):
        when = row.when
        inside = Truth.UNKNOWN if when is None else frame.holds(when)
        if inside is Truth.FALSE:
            outside = row if not row.excluded else outside
        elif row.excluded and row.excluded not in TROUBLES:
            ignored.append((row, row.excluded))
        elif row.use == "NEVER" or (selection.methods and row.method not in selection.methods):
            ignored.append((row, "NEVER_USE" if row.use == "NEVER" else say("other method")))
        elif row.use == "SUPP":
            support.append(row)
        elif trouble := row.excluded or _date_trouble(row, inside):
            troubled.append((row, trouble))
        elif (guard := _disturbed(row, selection.not_during, context)) is not None:
            (troubled if guard.flag else ignored).append((row, guard.flag or say("set aside by not_during")))
        elif selection.timed is None:
            valid.append(row)
        else:
            standing = timing_of(row, selection.timed, context)
            if standing.verdict == "valid":
                flags = tuple(sorted({*row.flags, *standing.flags}))
                valid.append(msgspec.structs.replace(row, flags=flags))
            else:
                (troubled if standing.verdict == "troubled" else ignored).append((row, standing.why))
    if selection.last:
        older = [row for row in valid if _outdated(row, valid, selection.last)]
        ignored += [(row, say("not among the last {count}", count=selection.last)) for row in older]
        troubled = [(row, why) for row, why in troubled if not _outdated(row, valid, selection.last)]
        valid = [row for row in valid if row not in older]
    return Pool(frame, tuple(valid), tuple(troubled), tuple(support), tuple(ignored), outside)


def _outdated(row: Finding, valid: list[Finding], last: int) -> bool:
    """Whether so many valid readings are surely newer."""
    return sum(_later(other, row) for other in valid) >= last


def _support(selection: Selection, frame: Frame, context: Context) -> list[Finding]:
    return [
        row
        for row in context.record.readings(selection.support)
        if row.when is not None and not row.excluded and frame.holds(row.when) is not Truth.FALSE
    ]


def _date_trouble(row: Finding, inside: Truth) -> str:
    if row.when is None:
        return "NO_DATE"
    return "DATE_PARTIAL" if inside is Truth.UNKNOWN else ""


def _disturbed(row: Finding, guards: tuple[NotDuring, ...], context: Context) -> NotDuring | None:
    for guard in guards:
        if row.when is None:
            continue
        near = near_occurrence(guard.condition, row.when, guard.margin_days, context)
        if near is Truth.TRUE or (near is Truth.UNKNOWN and guard.flag):
            return guard
    return None


def answering(pool: Pool, test: ReadingTest) -> tuple[Finding, ...]:
    """The valid readings that are of the shape the test asks about (a number, an answer, a code)."""
    if isinstance(test, Bounds):
        return tuple([row for row in pool.valid if row.value is not None])
    if isinstance(test, Codes):
        return tuple([row for row in pool.valid if row.value_code or row.answer])
    if isinstance(test, Exists | MeasuredBy):
        return pool.valid
    return tuple([row for row in pool.valid if row.answer])


def deciding(rows: tuple[Finding, ...], selection: Selection, context: Context) -> tuple[Finding, ...]:
    """The readings that decide: usually one; more if nothing says which of them is the latest."""
    match selection.take:
        case "latest":
            return _latest(rows)
        case "earliest":
            return tuple(row for row in rows if not any(_later(row, other) for other in rows))
        case "highest":
            lows = [row.value.low for row in rows if row.value is not None and row.value.low is not None]
            top = max(lows, default=None)
            return tuple(row for row in rows if not _all_below(row.value, top))
        case "lowest":
            highs = [row.value.high for row in rows if row.value is not None and row.value.high is not None]
            bottom = min(highs, default=None)
            return tuple(row for row in rows if not _all_above(row.value, bottom))
        case "nearest":
            return _nearest(rows, selection, context)
        case "mean" | "median":
            numbers = tuple(row for row in rows if row.value is not None)
            enough = len(numbers) >= max(selection.minimum, 1)
            return (averaged(numbers, selection.take),) if enough else ()
    return rows


def _latest(rows: Sequence[Finding]) -> tuple[Finding, ...]:
    """The readings than which none was surely taken later."""
    if len(rows) < 2:
        return tuple(rows)
    dated = [when for row in rows if (when := row.when) is not None]
    newest = max((when.at for when in dated if when.at is not None), default=None)
    day = max((when.first for when in dated), default=None)
    day_alone = max((when.first for when in dated if when.at is None), default=None)

    def outdone(when: PartialDate | None) -> bool:
        if when is None or day is None:
            return False
        if when.at is None or newest is None:
            return day > when.last
        return newest > when.at or (day_alone is not None and day_alone > when.last)

    return tuple(row for row in rows if not outdone(row.when))


def _later(left: Finding, right: Finding) -> bool:
    """Whether ``left`` was surely taken after ``right``."""
    return surely_after(left.when, right.when)


def surely_after(left: PartialDate | None, right: PartialDate | None) -> bool:
    if left is None or right is None:
        return False
    if left.at is not None and right.at is not None:
        return left.at > right.at
    return left.first > right.last


def _all_below(value: Interval | None, number: Fraction | None) -> bool:
    """Whether every number of the value is below; one that may be any is not."""
    return value is not None and number is not None and value.high is not None and value.high < number


def _all_above(value: Interval | None, number: Fraction | None) -> bool:
    return value is not None and number is not None and value.low is not None and value.low > number


def _nearest(rows: tuple[Finding, ...], selection: Selection, context: Context) -> tuple[Finding, ...]:
    """Nearest in whole days to the moment; of two equally near the earlier (as for study visits)."""
    target = context.resolve(selection.near) if selection.near else None
    if target is None or not rows:
        return ()
    best = min(_distance(row, target) for row in rows)
    near = [row for row in rows if _distance(row, target) == best]
    first = min(_day(row) for row in near)
    near = [row for row in near if _day(row) == first]
    return _latest(near)


def _day(row: Finding) -> date:
    assert row.when is not None  # noqa: S101 - rows without a date are troubled, never valid
    return row.when.first


def _distance(row: Finding, target: Span) -> int:
    return abs((_day(row) - target.first).days)


def evidence_of(
    row: Finding, role: Literal["used", "ignored", "support"], *, compared: str = "", why: str = ""
) -> Evidence:
    """One reading as evidence: the source's own text, the canonical value, and what was done."""
    when = row.when
    value = ""
    if row.value is not None:
        value = f"{row.value} {row.unit}".strip()
    elif row.answer or row.value_code:
        value = row.answer or row.value_code
    elif row.value_date is not None:
        value = row.value_date.iso
    return Evidence(
        source=row.source,
        role=role,
        concept=row.concept or row.code.code,
        when=when.iso if when else "",
        original=f"{row.original} {row.original_unit}".strip(),
        value=value,
        conversion=row.conversion,
        compared=compared,
        why=why,
        derived_from=row.derived_from,
    )


def wanted(selection: Selection, period: Period, context: Context) -> tuple[str, ...]:
    """What to ask the hospital for when no reading decides."""
    frame = context.frame(period)
    if frame is None:
        return context.missing(period.start, period.end)
    if selection.take in AVERAGES and selection.minimum > 1:
        phrase = "at least {count} usable readings of {what}, collected {when}"
        return (say(phrase, count=selection.minimum, what=selection.label, when=frame),)
    return (say("a usable reading of {what}, collected {when}", what=selection.label, when=frame),)
