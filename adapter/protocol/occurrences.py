"""Events and drug exposures: what surely happened, what may have, and what silence means.

A condition is true if a usable row surely fits, unknown if one may fit (a partial date, a diagnosis not
confirmed, a route not known). If no row fits, it is false only where silence counts as absence: the
concept says so *and* coverage says that the records were completely fetched for the whole period.
"""

from __future__ import annotations

from datetime import date

from adapter.model.dates import PartialDate
from adapter.model.decision import Evidence
from adapter.model.facts import Event, Intervention, Source
from adapter.model.kleene import Truth, all_of, any_of
from adapter.model.nodes import Period
from adapter.model.selection import EventTest, ExposureTest
from adapter.protocol.context import Context
from adapter.protocol.days import Frame, Span, compare_days
from adapter.protocol.outcome import Outcome, unique
from adapter.protocol.saying import length, say

MEDICATION_TYPES = (
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationRequest",
    "MedicationStatement",
)


def event_outcome(test: EventTest, context: Context) -> Outcome:
    frame = context.frame(test.period)
    if frame is None:
        return _no_frame(test.period, context)
    rows = [(row, _event_fits(row, test, frame)) for row in _events(test, context)]
    evidence = tuple([_event_evidence(row, fits) for row, fits in rows])
    truth = any_of([fits for _, fits in rows])
    if truth is Truth.FALSE:
        return _silent(test, test.resource_types, frame, context, evidence)
    flags = unique(flag for row, fits in rows if fits is truth for flag in row.flags)
    if truth is Truth.TRUE:
        return Outcome(truth, evidence, flags)
    if any(row.presence == "unconfirmed" for row, fits in rows if fits is Truth.UNKNOWN):
        flags = (*flags, "UNCONFIRMED")
    return Outcome(truth, evidence, flags, (say("confirmation of {what} with its dates", what=test.label),))


def _events(test: EventTest, context: Context) -> list[Event]:
    """Rows of the concepts, of one category if the test names one."""
    return [
        row
        for name in test.concepts
        for row in context.record.events.get(name, ())
        if not test.category or row.category == test.category
    ]


def _event_fits(row: Event, test: EventTest, frame: Frame) -> Truth:
    if row.excluded or row.use in ("SUPP", "NEVER"):
        return Truth.FALSE
    described = all_of((*(_has(row, name, value) for name, value in test.having), _lacks(row, test.lacking)))
    present = Truth.of(row.presence in test.presence)
    if row.presence == "unconfirmed" and "unconfirmed" not in test.presence:
        present = Truth.UNKNOWN
    return all_of((present, described, _event_timed(row, test, frame)))


def _has(row: Event, name: str, value: str) -> Truth:
    """Whether an attribute says so; one that was not sent says nothing."""
    said = row.attribute(name)
    return Truth.of(value in said.split()) if said else Truth.UNKNOWN


def _lacks(row: Event, lacking: tuple[tuple[str, str], ...]) -> Truth:
    """Whether none of the attributes says so; if none of them was sent, that is not known."""
    said = [value in row.attribute(name).split() for name, value in lacking if row.attribute(name)]
    if any(said):
        return Truth.FALSE
    return Truth.TRUE if said or not lacking else Truth.UNKNOWN


def _event_timed(row: Event, test: EventTest, frame: Frame) -> Truth:
    """Overlap of the event with the period; an event without an end that is present goes on."""
    if test.timing == "onset":
        return frame.holds(row.start) if row.start else _undated(test)
    if test.timing == "end":
        return frame.holds(row.end) if row.end else Truth.UNKNOWN
    begin = row.start or row.recorded
    starts = Truth.TRUE
    if frame.end is not None and begin is not None:
        starts = compare_days(begin, "on_or_before", frame.end)
        # what is on record by the as-of day has begun by then, though it may be dated only to the year
        if starts is Truth.UNKNOWN and test.period.end is None:
            starts = Truth.TRUE
    ends = Truth.TRUE
    if frame.start is not None and row.presence != "present":
        finish = row.end
        if finish is not None:
            ends = compare_days(finish, "on_or_after", frame.start)
        elif begin is not None and compare_days(begin, "on_or_after", frame.start) is Truth.TRUE:
            ends = Truth.TRUE
        else:
            ends = Truth.UNKNOWN
    elif frame.start is not None and row.end is not None:
        ends = compare_days(row.end, "on_or_after", frame.start)
    return starts & ends


def _undated(test: EventTest) -> Truth:
    return Truth.UNKNOWN if test.period.start or test.period.end else Truth.TRUE


def _event_evidence(row: Event, fits: Truth) -> Evidence:
    why = ""
    if fits is not Truth.TRUE:
        why = row.excluded or (
            say("may fit") if fits is Truth.UNKNOWN else say(f"does not fit ({row.presence})")
        )
    return Evidence(
        source=row.source,
        role="used" if fits is not Truth.FALSE else "ignored",
        concept=row.concept,
        when=row.start.iso if row.start else "",
        original=row.code.display or row.code.code,
        value=row.presence,
        why=why,
    )


def exposure_outcome(test: ExposureTest, context: Context) -> Outcome:
    frame = context.frame(test.period)
    if frame is None:
        return _no_frame(test.period, context)
    rows = [(row, _exposure_fits(row, test, frame)) for row in _exposures(test, context)]
    period = str(frame) if rows else ""
    evidence = tuple([_exposure_evidence(row, fits, period) for row, fits in rows])
    truth = any_of([fits for _, fits in rows])
    boundary = tuple(["BOUNDARY" for row, _ in rows if not row.excluded and _touches(row, frame)])
    if truth is Truth.FALSE:
        silent = _silent(test, MEDICATION_TYPES, frame, context, evidence)
        return Outcome(silent.truth, silent.evidence, unique((*silent.flags, *boundary)), silent.needs)
    flags = unique(flag for row, fits in rows if fits is truth for flag in row.flags)
    if truth is Truth.TRUE:
        return Outcome(truth, evidence, unique((*flags, *boundary)), distance=_nearest_exposure(rows, frame))
    return Outcome(truth, evidence, flags, (say("exact dates and route of {what}", what=test.label),))


def _exposures(test: ExposureTest, context: Context) -> list[Intervention]:
    return context.once(
        ("exposures", test), lambda: [row for row in context.record.interventions if _selected(row, test)]
    )


def _selected(row: Intervention, test: ExposureTest) -> bool:
    if row.concept in test.other_than or (test.kinds and row.kind not in test.kinds):
        return False
    match test.by:
        case "drug":
            return row.concept in test.names
        case "role":
            return row.role in test.names
    return any(name in row.classes for name in test.names)


def _exposure_fits(row: Intervention, test: ExposureTest, frame: Frame) -> Truth:
    if row.excluded or row.use in ("SUPP", "NEVER"):
        return Truth.FALSE
    route = Truth.TRUE
    if test.systemic:
        route = Truth.UNKNOWN if row.systemic is None else Truth.of(row.systemic)
    once = Truth.TRUE
    if test.single_day:
        finish = _last_day(row)
        known = row.start is not None and finish is not None
        once = Truth.of(not row.ongoing and row.start == finish) if known or row.ongoing else Truth.UNKNOWN
    return all_of((route, once, _exposure_timed(row, frame)))


def _last_day(row: Intervention) -> PartialDate | None:
    """The last day of exposure; None if the row does not say: a start alone is no end."""
    if row.exposure_end or row.end:
        return row.exposure_end or row.end
    return None if "END_UNKNOWN" in row.flags else row.start


def _exposure_timed(row: Intervention, frame: Frame) -> Truth:
    begin, finish = row.start or row.recorded, _last_day(row)
    starts = ends = Truth.UNKNOWN
    if frame.end is None:
        starts = Truth.TRUE
    elif begin is not None:
        starts = compare_days(begin, "on_or_before", frame.end)
    elif finish is not None and compare_days(finish, "on_or_before", frame.end) is Truth.TRUE:
        starts = Truth.TRUE
    if frame.start is None or (row.ongoing and row.exposure_end is None):
        ends = Truth.TRUE
    elif finish is not None:
        ends = compare_days(finish, "on_or_after", frame.start)
    elif begin is not None and compare_days(begin, "on_or_after", frame.start) is Truth.TRUE:
        ends = Truth.TRUE
    return starts & ends


def _touches(row: Intervention, frame: Frame) -> bool:
    finish = _last_day(row)
    return (
        frame.start is not None
        and not row.ongoing
        and finish is not None
        and finish.day is not None
        and finish.day == frame.start.day
    )


def _nearest_exposure(rows: list[tuple[Intervention, Truth]], frame: Frame) -> str:
    days = [
        (finish.day - frame.start.day).days
        for row, fits in rows
        if fits is Truth.TRUE and not row.ongoing and (finish := _last_day(row)) is not None
        if frame.start is not None and finish.day is not None and frame.start.day is not None
    ]
    if not days:
        return ""
    ago = length(max(days), "days")
    return say("last exposure {ago} after {day}", ago=ago, day=frame.start)


def _until(ongoing: bool, finish: PartialDate | None) -> str:
    if ongoing:
        return say("still taken")
    return f"{say('last exposure ')}{finish.iso}" if finish else say("end not known")


def _exposure_evidence(row: Intervention, fits: Truth, period: str) -> Evidence:
    finish = _last_day(row)
    last = _until(row.ongoing, finish)
    misfit = "" if fits is Truth.TRUE else say("may fit") if fits is Truth.UNKNOWN else say("does not fit")
    return Evidence(
        source=row.source,
        role="ignored" if fits is Truth.FALSE else "used",
        concept=row.concept,
        when=row.start.iso if row.start else "",
        original=row.code.display or row.code.code,
        value=row.kind,
        compared=f"{last}{say('; period ')}{period}",
        why=row.excluded or misfit,
    )


def _no_frame(period: Period, context: Context) -> Outcome:
    return Outcome(Truth.UNKNOWN, needs=context.missing(period.start, period.end))


def _silent(
    test: EventTest | ExposureTest,
    types: tuple[str, ...],
    frame: Frame,
    context: Context,
    evidence: tuple[Evidence, ...],
) -> Outcome:
    """No row fits: false where silence is absence, else unknown."""
    if test.silence == "absent":
        return Outcome(Truth.FALSE, evidence)
    start = frame.start.first if frame.start else None
    # an assessment sees nothing from after its day, so silence later than that says nothing either way
    end = min(frame.end.last, context.as_of.last) if frame.end else None
    if test.silence == "absent_if_covered" and types and _covered(types, start, end, context):
        none = say("no record of {what}, {when}", what=test.label, when=frame)
        said = [Evidence(Source(f"coverage/{name}"), "used", compared=none) for name in types]
        return Outcome(Truth.FALSE, (*evidence, *said))
    return Outcome(
        Truth.UNKNOWN, evidence, needs=(say("a statement about {what}, {when}", what=test.label, when=frame),)
    )


def _covered(types: tuple[str, ...], start: date | None, end: date | None, context: Context) -> bool:
    covers = context.record.covers
    return all(covers(name, start, end) for name in types)


def near_occurrence(
    test: EventTest | ExposureTest, when: PartialDate, margin: int, context: Context
) -> Truth:
    """Whether a recorded event or exposure lies within ``margin`` days of a day; silence is no."""
    frame = Frame(Span.of(when).shifted(-margin, "days"), Span.of(when).shifted(margin, "days"))
    if isinstance(test, EventTest):
        return any_of(_event_fits(row, test, frame) for row in _events(test, context))
    return any_of(_exposure_fits(row, test, frame) for row in _exposures(test, context))
