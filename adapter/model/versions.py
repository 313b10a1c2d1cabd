"""Which of two versions of one resource is the newer.

The higher ``meta.versionId`` if both are whole numbers and differ, else the later ``meta.lastUpdated``. FHIR
promises no order of version ids, but servers that number them count upwards; where neither tells, nobody can.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from adapter.model.dates import parse_date


class Version(NamedTuple):
    """``meta.versionId`` if it is a whole number, and the instant of ``meta.lastUpdated``."""

    number: int | None = None
    updated: datetime | None = None


def version_of(version_id: str, last_updated: str) -> Version:
    """Read the two texts of ``Resource.meta``; what cannot be read is None.

    >>> version_of("10", "").number, version_of("W/3a", "").number
    (10, None)
    """
    number = int(version_id) if version_id.isdecimal() and len(version_id) < 19 else None
    day = parse_date(last_updated, UTC) if last_updated else None
    return Version(number, day.at if day else None)


def compare(one: Version, other: Version) -> int:
    """Negative if ``one`` is the older version, positive if it is the newer, 0 if nobody can tell."""
    if one.number is not None and other.number is not None and one.number != other.number:
        return -1 if one.number < other.number else 1
    if one.updated is not None and other.updated is not None and one.updated != other.updated:
        return -1 if one.updated < other.updated else 1
    return 0
