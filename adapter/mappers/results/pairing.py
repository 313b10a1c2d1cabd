"""Which readings belong to one urine collection.

The same specimen, else the same report, else the same effective period: nothing weaker pairs a protein with a
volume, not even the same day (specification A.2). The strongest link that exists is the only one used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from adapter.model.facts import Finding

Link = Callable[[Finding, Finding], bool]


def same_specimen(one: Finding, other: Finding) -> bool:
    return bool(one.specimen_id) and one.specimen_id == other.specimen_id


def same_report(one: Finding, other: Finding) -> bool:
    return bool(one.report) and one.report == other.report


def same_period(one: Finding, other: Finding) -> bool:
    """Both ends stated by both, and equal as moments however they were written."""
    if one.start is None or one.end is None or other.start is None or other.end is None:
        return False
    return (one.start.order[:3], one.end.order[:3]) == (other.start.order[:3], other.end.order[:3])


LINKS: tuple[Link, ...] = (same_specimen, same_report, same_period)


def partners(reading: Finding, others: Iterable[Finding]) -> tuple[Finding, ...]:
    """The readings of the same collection by the strongest link that finds any."""
    candidates = [other for other in others if other is not reading]
    for link in LINKS:
        found = tuple(other for other in candidates if link(reading, other))
        if found:
            return found
    return ()
