"""The rows of all units as one run over everything would have written them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from adapter.model.issue import Issue
from adapter.screening.judge import PersonRows, issue_order


def people_in_order(parts: Iterable[Iterable[PersonRows]]) -> Iterator[PersonRows]:
    """Everybody's rows by Patient.id; each part is in that order, and nobody is in two."""
    return heapq.merge(*parts, key=lambda one: one.subject)


def issues_in_order(parts: Iterable[Iterable[Issue]]) -> Iterator[Issue]:
    """Every issue once; each part is in the order of :func:`issue_order`."""
    last: Issue | None = None
    for issue in heapq.merge(*parts, key=issue_order):
        if issue != last:
            yield issue
        last = issue
