"""Dates as they were written: with their precision and, where they have one, their zone.

FHIR allows ``2018``, ``2018-11``, ``2018-11-05`` and full instants. A date without a time is the
whole local day of the site; a month is every day of the month. :class:`PartialDate` keeps the first
and the last calendar day (in the site's zone) that the text allows, so that a rule can say "true for
every day it may have been", "false for every day", or unknown. Source: FHIR R4 datatypes, dateTime.
"""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Literal

import msgspec

from adapter.model.kept import kept

Precision = Literal["year", "month", "day", "time"]

_PARTIAL = re.compile(r"(?P<year>\d{4})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2}))?)?")
_FINER = re.compile(r"(\.\d{6})\d+")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2})?")


class PartialDate(msgspec.Struct, frozen=True, dict=True):
    """One moment as the source wrote it.

    ``text`` is the source text; ``first``..``last`` the inclusive span of local calendar days it
    may mean; ``at`` the instant in the site's zone when a time was given; ``zone_assumed`` is true
    when the text had a time but no offset (flag TZ_ASSUMED). What is worked out of it is kept with it.
    """

    text: str
    precision: Precision
    first: date
    last: date
    at: datetime | None = None
    zone_assumed: bool = False

    @property
    def day(self) -> date | None:
        """The local calendar day, if only one is possible."""
        return self.first if self.first == self.last else None

    @kept
    def iso(self) -> str:
        """ISO 8601 at the known precision in the site's zone, without offset (SDTM --DTC)."""
        if self.at is not None:
            with_seconds = self.at.second or self.text[16:17] == ":"
            return self.at.isoformat()[: len("2019-06-03T08:00:00" if with_seconds else "2019-06-03T08:00")]
        return self.first.isoformat()[: {"year": 4, "month": 7}.get(self.precision, 10)]

    @kept
    def order(self) -> tuple[date, date, str, str]:
        """A total order: earliest possible day, then latest, then time, then text."""
        return (self.first, self.last, self.at.isoformat() if self.at else "", self.text)


@lru_cache(maxsize=4096)
def parse_date(text: str, zone: tzinfo) -> PartialDate | None:
    """Read a FHIR date, dateTime or instant; None when the text is no date that exists.

    The results of one sample all carry its time, so the last texts read are remembered.

    >>> from zoneinfo import ZoneInfo
    >>> parse_date("2019-05-05T16:30:00Z", ZoneInfo("Asia/Shanghai")).first.isoformat()
    '2019-05-06'
    >>> parse_date("2018-02", ZoneInfo("Asia/Shanghai")).last.isoformat()
    '2018-02-28'
    >>> parse_date("2024-13-01", ZoneInfo("Asia/Shanghai")) is None
    True
    """
    text = text.strip()
    if len(text) <= len("2019-06-03"):
        partial = _PARTIAL.fullmatch(text)
        return _from_parts(text, partial) if partial else None
    if _INSTANT.fullmatch(text):
        try:
            moment = datetime.fromisoformat(_FINER.sub(r"\1", text) if "." in text else text)
            assumed = moment.tzinfo is None
            local = moment.replace(tzinfo=zone) if assumed else moment.astimezone(zone)
        except (ValueError, OverflowError):
            return None
        return PartialDate(text, "time", local.date(), local.date(), local, assumed)
    return None


def _from_parts(text: str, match: re.Match[str]) -> PartialDate | None:
    year, month, day = (int(part) if part else None for part in match.group("year", "month", "day"))
    try:
        assert year is not None  # noqa: S101 - the pattern always captures a year
        if month is None:
            return PartialDate(text, "year", date(year, 1, 1), date(year, 12, 31))
        if day is None:
            last_day = calendar.monthrange(year, month)[1]
            return PartialDate(text, "month", date(year, month, 1), date(year, month, last_day))
        exact = date(year, month, day)
        return PartialDate(text, "day", exact, exact)
    except (ValueError, calendar.IllegalMonthError):
        return None


def on_day(day: date) -> PartialDate:
    """A known calendar day, for dates that a person or a rule states."""
    return PartialDate(day.isoformat(), "day", day, day)


def completed_years(birth: date, on: date) -> int:
    """Age in completed years; a 29 February birthday completes on 1 March in common years.

    Source: the protocol reading of inclusion 1; FHIR and SDTM state no rule for 29 February.
    """
    return on.year - birth.year - ((on.month, on.day) < (birth.month, birth.day))


def add_months(day: date, months: int) -> date:
    """Calendar months later (or earlier), the day clipped to the month's length."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def add_days(day: date, days: int) -> date:
    return day + timedelta(days=days)


def counted(number: int, unit: Literal["days", "months"]) -> str:
    """``1 day``, ``14 days``, ``1 month``: as it is said."""
    return f"{number} {unit[:-1] if number == 1 else unit}"
