"""What was asked of a hospital and whether the answer is complete.

"No rows" and "not fetched" look the same in a table of facts. Coverage keeps them apart: silence may
be read as absence only where a row here says that the type was completely fetched for the subject and
the period. Where something was lost, not even the records that came may decide which of them is the latest.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec


class Coverage(msgspec.Struct, frozen=True):
    """One resource type, one subject (or "" for everyone), one period, complete or not.

    ``start``/``end`` are inclusive; None is unbounded. ``reason`` says why a part is not complete
    (``not requested``, ``403``, ``truncated``...) or how completeness is known. ``limited`` says of a part
    that is not complete that only less was asked for, or that the source offers no more: all that was asked
    for came. Without it something was lost, as it is taken to be of rows written before the word existed.
    """

    resource_type: str
    complete: bool
    subject: str = ""
    start: date | None = None
    end: date | None = None
    reason: str = ""
    limited: bool = False

    @property
    def lost(self) -> bool:
        """Whether something that was asked for did not come, so that any record may be among it."""
        return not self.complete and not self.limited

    def spans(self, subject: str, start: date | None, end: date | None) -> bool:
        """Whether this row speaks of the whole period for the subject."""
        starts_early = self.start is None or (start is not None and self.start <= start)
        ends_late = self.end is None or (end is not None and end <= self.end)
        return self.subject in ("", subject) and starts_early and ends_late


def is_covered(
    rows: Iterable[Coverage], resource_type: str, subject: str, start: date | None, end: date | None
) -> bool:
    """True only if some row covers the whole period completely and none there says "incomplete"."""
    relevant = [row for row in rows if row.resource_type == resource_type and row.subject in ("", subject)]
    if any(not row.complete for row in relevant):
        return False
    return any(row.spans(subject, start, end) for row in relevant)


def order(row: Coverage) -> tuple[object, ...]:
    """The order in which rows of coverage are written."""
    bounds = (str(row.start or ""), str(row.end or ""))
    return (row.subject, row.resource_type, *bounds, row.complete, row.reason)
