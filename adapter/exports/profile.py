"""Pseudonymisation profiles: what a sponsor may see, and what may go to research beyond the trial.

``sponsor`` keeps true dates, because GCP and --DY auditing expect them. ``research`` is made of the finished
datasets, so nothing that was derived changes: each subject gets another number, all of a subject's dates
move by one constant number of days, ages over 89 are told as 90, tokens are hashed once more. Number and
shift come from the HMAC of the site's key over study, site and person, so they stay the same from snapshot to
snapshot, differ between sites and studies, and cannot be undone by whoever holds the sponsor's datasets
alone. Calendar dates and seasons are lost.

A partial date moves with its first day, or with its last where it ends something, and is cut to its precision
again: what started before it ended still does. Sources: HIPAA Privacy Rule, 45 CFR 164.514(b); RFC 2104.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Literal, TypeAlias

import msgspec

from adapter.errors import ExportError
from adapter.exports.columns import batches
from adapter.exports.dataset import Cell, Column, Dataset, Row
from adapter.exports.pseudonym import Pseudonymiser
from adapter.exports.runs import SortedRows

Profile: TypeAlias = Literal["sponsor", "research"]
RESEARCH = "research"
LARGEST_SHIFT, OLDEST_AGE = 180, 89
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(T[\d:.]+)?)?)?")
_WHOLE_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:T[\d:.]+)?")
_TOKEN = re.compile(r"[0-9a-f]{16}")
_NOTES: Mapping[Profile, str] = {
    "sponsor": "True dates. Subjects are known by their number in the study.",
    "research": "All dates of a subject are moved by one constant, secret number of days (at most "
    f"{LARGEST_SHIFT}); intervals and study days hold, calendar dates and seasons do not. Ages over "
    f"{OLDEST_AGE} are given as {OLDEST_AGE + 1}. Subject numbers are not those of the sponsor's datasets. "
    "Dates of the trial design are true.",
}


class Disguise(msgspec.Struct, frozen=True):
    """What one subject is called in research, and by how many days their dates move."""

    usubjid: str
    subjid: str
    days: int


def told(profile: Profile) -> dict[str, Any]:
    """What the manifest says of a profile; never a shift."""
    return {"profile": profile, "note": _NOTES[profile]}


def disguises(pseudonyms: Pseudonymiser, subjects: Mapping[str, str]) -> dict[str, Disguise]:
    """By USUBJID of the sponsor; ``subjects`` is Patient.id -> SUBJID.

    Raises :class:`ExportError` if two people would share a number.
    """
    found = {}
    for person, number in sorted(subjects.items()):
        days = int(pseudonyms.token("shift", person), 16) % (2 * LARGEST_SHIFT) - LARGEST_SHIFT
        own = "R" + pseudonyms.token("research subject", person)[:10].upper()
        days += days >= 0  # never none
        found[pseudonyms.usubjid(number)] = Disguise(pseudonyms.usubjid(own), own, days)
    if len({one.subjid for one in found.values()}) < len(found):
        raise ExportError("two people would share a research number", fix="use another key for research")
    return found


def disguised(
    datasets: Sequence[Dataset], people: Mapping[str, Disguise], pseudonyms: Pseudonymiser
) -> tuple[Dataset, ...]:
    """The datasets as ``research`` sees them; those that speak of no subject stay as they are."""
    return tuple(_disguised(one, people, pseudonyms) for one in datasets)


def _disguised(dataset: Dataset, people: Mapping[str, Disguise], pseudonyms: Pseudonymiser) -> Dataset:
    names = [column.name for column in dataset.columns]
    if "USUBJID" not in names:
        return dataset
    at = names.index("USUBJID")
    rows = SortedRows(dataset.columns)
    for batch in batches(dataset.rows):
        rows.add(
            # a relation between datasets is about nobody
            _row(dataset.columns, row, people[str(row[at])], pseudonyms) if row[at] else row
            for row in batch
        )
    return msgspec.structs.replace(dataset, rows=rows.finished())


def _row(columns: Sequence[Column], row: Row, one: Disguise, pseudonyms: Pseudonymiser) -> Row:
    return tuple(_cell(column, cell, one, pseudonyms) for column, cell in zip(columns, row, strict=True))


def _cell(column: Column, cell: Cell, one: Disguise, pseudonyms: Pseudonymiser) -> Cell:
    if column.name in ("USUBJID", "SUBJID"):
        return one.usubjid if column.name == "USUBJID" else one.subjid
    if cell is None or cell == "":
        return cell
    if isinstance(cell, str):
        if column.kind in ("date", "datetime") or _WHOLE_DATE.fullmatch(cell):
            return shifted(cell, one.days, ends=column.name.endswith("ENDTC") or column.name == "DTHDTC")
        return pseudonyms.token(RESEARCH, cell) if _TOKEN.fullmatch(cell) else cell
    if column.is_day:
        return int(cell) + one.days
    if column.name in ("AGE", "AAGE") and cell > OLDEST_AGE:
        return OLDEST_AGE + 1
    return cell


def shifted(text: str, days: int, *, ends: bool = False) -> str:
    """An ISO 8601 date, time or truncated date, moved by whole days; ``ends`` moves a month by its last day.

    >>> shifted("2019-06-03T08:00", 30), shifted("2019-06", 30), shifted("2019-06", 30, ends=True)
    ('2019-07-03T08:00', '2019-07', '2019-07')
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise ExportError("a date that cannot be moved", where="research profile")
    year, month, day = (int(part) if part else None for part in match.groups()[:3])
    first_month, last_month = (month, month) if month else (1, 12)
    if year is None:
        raise ExportError("a date without a year", where="research profile")
    if day is not None:
        known = date(year, first_month, day)
    elif ends:
        known = date(year, last_month, calendar.monthrange(year, last_month)[1])
    else:
        known = date(year, first_month, 1)
    moved = (known + timedelta(days=days)).isoformat()
    return moved + (match[4] or "") if day is not None else moved[: 7 if month else 4]
