"""Days within a state: those a person records, and the windows of the next review."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import msgspec

from adapter.model.dates import add_days
from adapter.model.decision import Evidence
from adapter.model.facts import Intervention
from adapter.model.ladder import ENTRY, DayName, State, Timing
from adapter.protocol.context import Context
from adapter.protocol.readings import evidence_of


class Named(msgspec.Struct, frozen=True):
    """A day of a state; with ``flag`` if the entry stands for it."""

    day: date
    flag: str = ""
    evidence: tuple[Evidence, ...] = ()


class Reviewed(msgspec.Struct, frozen=True):
    """How a day lies to the review windows of a state.

    ``answers`` is true if a result of that day is the review (always, in a state without one); ``late`` if
    after every window. ``assumed`` are the flags of the assumed days on which alone the window rests.
    """

    answers: bool
    place: str = ""
    late: bool = False
    first: date | None = None
    last: date | None = None
    assumed: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    def admits(self, timing: Timing) -> bool:
        return timing == "any" or self.answers


def named_day(rule: DayName, entered: date, until: date, context: Context) -> Named:
    """The recorded day from the entry up to ``until``; of several answers the one given last.

    Days of an earlier stay in the same state lie before the entry and those of a later one after ``until``.
    """
    answers = [
        row
        for row in context.record.answers.get(rule.link, ())
        if rule.link and not row.excluded
        if row.when is not None and row.when.first <= context.as_of.last
        if row.value_date is not None
        if row.value_date.day is not None and entered <= row.value_date.day <= until
    ]
    if answers:
        chosen = max(answers, key=lambda row: (row.when.order if row.when else (), _day_of(row.value_date)))
        return Named(_day_of(chosen.value_date), evidence=(evidence_of(chosen, "used"),))
    starts = [
        (row.start.first, row)
        for row in context.record.interventions
        if rule.by is not None and _selected(row, rule)
        if row.start is not None and row.start.day is not None and entered <= row.start.first <= until
    ]
    if starts:
        day, row = min(starts, key=lambda pair: (pair[0], pair[1].source))
        return Named(day, evidence=(Evidence(row.source, "used", row.concept, day.isoformat()),))
    return Named(entered, rule.flag)


def _day_of(when: object) -> date:
    day = getattr(when, "day", None)
    assert isinstance(day, date)  # noqa: S101 - rows without a full date were left out
    return day


def _selected(row: Intervention, rule: DayName) -> bool:
    if row.excluded or row.use in ("SUPP", "NEVER"):
        return False
    chosen = {"drug": (row.concept,), "role": (row.role,), "class": row.classes}[rule.by or "drug"]
    return any(name in chosen for name in rule.drugs)


def reviewed(state: State, entered: date | None, day: date, named: Mapping[str, Named]) -> Reviewed:
    """Whether a result of ``day`` is the review that the state waits for."""
    review = state.review
    if review is None or entered is None:
        return Reviewed(answers=True)
    windows = []
    for name in review.counted_from:
        begin = Named(entered) if name == ENTRY else named[name]
        windows.append((add_days(begin.day, review.first), add_days(begin.day, review.last), begin))
    first = min(window[0] for window in windows)
    last = max(window[1] for window in windows)
    inside = [begin for start, end, begin in windows if start <= day <= end]
    late = day > last
    answers = bool(inside) or (late and state.overdue.late == "decides")
    place = "before" if day < first else "after" if late else "in" if inside else "between"
    resting = inside or [begin for _, _, begin in windows]
    return Reviewed(
        answers=answers,
        place=f"{place} the review window ({first} to {last})",
        late=late,
        first=first,
        last=last,
        assumed=tuple(begin.flag for begin in resting if begin.flag)
        if all(begin.flag for begin in resting)
        else (),
        evidence=tuple(item for begin in inside for item in begin.evidence),
    )
