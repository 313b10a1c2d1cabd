"""Days, periods and lengths of time in words."""

from __future__ import annotations

from adapter.model.nodes import Duration, Moment, Offset, Period
from adapter.protocol.render.voice import Voice


def say_moment(moment: Moment, voice: Voice) -> str:
    """``biopsy - 30 days`` as "30 days before biopsy"."""
    base = voice.day(moment.anchor) if moment.anchor else str(moment.day)
    if not moment.shift:
        return voice.phrase("Moment", base=base)
    key = "Moment.after" if moment.shift > 0 else "Moment.before"
    count, unit = voice.time(abs(moment.shift), moment.unit)
    return voice.phrase(key, base=base, count=count, unit=unit)


def say_offset(offset: Offset, voice: Voice) -> str:
    """``336``, or ``24 months - 28 days`` as "28 days before 24 months"."""
    if not offset.months:
        return str(offset.days)
    said = say_duration(Duration(count=offset.months, unit="months"), voice)
    if not offset.days:
        return said
    sign = "+" if offset.days > 0 else "-"
    return voice.phrase("Offset.both", months=said, sign=sign, days=say_days(abs(offset.days), voice))


def say_window(first: Offset, last: Offset, voice: Voice) -> str:
    plain = not first.months and not last.months and first.days >= 0
    link = "-" if plain else voice.phrase("Offset.to")
    return f"{say_offset(first, voice)}{link}{say_offset(last, voice)}"


def say_duration(duration: Duration, voice: Voice) -> str:
    count, unit = voice.time(duration.count, duration.unit)
    return voice.phrase("Duration", count=count, unit=unit)


def say_days(days: int, voice: Voice) -> str:
    return say_duration(Duration(count=days), voice)


def say_period(period: Period, voice: Voice) -> str:
    """A leading space or bracket belongs to the phrase; an open period says nothing."""
    start = say_moment(period.start, voice) if period.start else ""
    end = say_moment(period.end, voice) if period.end else ""
    if start and end:
        said = voice.phrase("Period.both", start=start, end=end)
    elif start:
        said = voice.phrase("Period.start", start=start)
    elif end:
        said = voice.phrase("Period.end", end=end)
    else:
        said = voice.phrase("Period.open")
    return said
