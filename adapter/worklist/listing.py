"""Filters, sorting and pages of the worklist.

What is asked stands in the address (:meth:`Asked.query`), so that a view can be kept, sent and gone back to.
It holds states, criteria and marks, never anything about a person: a page goes on after a key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from typing import Any, Literal, get_args
from urllib.parse import urlencode

import msgspec

from adapter.worklist.candidate import CAUSES, MARKS, STATES, Cause, Mark, Row, State

Sort = Literal["next", "missing", "age", "entered", "id"]
SORTS: tuple[Sort, ...] = get_args(Sort)
PAGE = 50
_LAST = date.max


class Asked(msgspec.Struct, frozen=True):
    """What a page shows. Of each filter one value has to fit, and every filter that is given.

    ``blocked`` is a criterion that keeps people out or waits; ``waiting`` leaves those with a write-back that
    waits for a person's leave.
    """

    states: tuple[State, ...] = ()
    blocked: str = ""
    causes: tuple[Cause, ...] = ()
    marks: tuple[Mark, ...] = ()
    waiting: bool = False
    sort: Sort = "next"
    down: bool = False
    after: str = ""

    def query(self, **changes: Any) -> str:
        """The address's query of this page, or of one with ``changes``; without ``after`` unless given."""
        asked = msgspec.structs.replace(self, **{"after": "", **changes})
        pairs: list[tuple[str, str]] = [("state", one) for one in asked.states]
        pairs += [("criterion", asked.blocked)] if asked.blocked else []
        pairs += [("cause", one) for one in asked.causes]
        pairs += [("mark", one) for one in asked.marks]
        pairs += [("waiting", "1")] if asked.waiting else []
        pairs += [("sort", asked.sort)] if asked.sort != "next" else []
        pairs += [("down", "1")] if asked.down else []
        pairs += [("after", asked.after)] if asked.after else []
        return urlencode(pairs)


class Page(msgspec.Struct, frozen=True):
    """``total`` counts all that fit, ``next`` is the key after which the following page begins, "" on the
    last; ``first`` is the number of the first row, from 1."""

    rows: tuple[Row, ...]
    total: int
    next: str
    first: int


def asked_for(given: Sequence[tuple[str, str]]) -> Asked:
    """Reads an address's query; what it does not know is left out, since addresses are kept and sent."""
    by_name: dict[str, list[str]] = {}
    for name, value in given:
        by_name.setdefault(name, []).append(value)
    last = {name: values[-1] for name, values in by_name.items()}
    sort: Sort = next((one for one in SORTS if one == last.get("sort")), "next")
    return Asked(
        states=tuple(one for one in STATES if one in by_name.get("state", ())),
        blocked=last.get("criterion", "") if last.get("criterion", "").isidentifier() else "",
        causes=tuple(one for one in CAUSES if one in by_name.get("cause", ())),
        marks=tuple(one for one in MARKS if one in by_name.get("mark", ())),
        waiting=last.get("waiting") == "1",
        sort=sort,
        down=last.get("down") == "1",
        after=last.get("after", "") if last.get("after", "").isalnum() else "",
    )


def page(rows: Sequence[Row], asked: Asked, *, waiting: Collection[str] = (), size: int = PAGE) -> Page:
    """One page. ``waiting`` are the Patient.ids with a write-back that waits for leave.

    Pages go on behind the key of the last row, so that nobody is shown twice or left out when others come
    or go in between.
    """
    found = sorted((row for row in rows if fits(row, asked, waiting)), key=_order(asked.sort))
    if asked.down:
        found.reverse()
    start = 0
    if asked.after:
        last = next((row for row in rows if row.key == asked.after), None)
        if last is not None:
            edge = _order(asked.sort)(last)
            past = [
                _order(asked.sort)(row) < edge if asked.down else _order(asked.sort)(row) > edge
                for row in found
            ]
            start = past.index(True) if True in past else len(found)
    shown = tuple(found[start : start + size])
    more = start + size < len(found)
    return Page(shown, len(found), shown[-1].key if more and shown else "", start + 1 if shown else 0)


def fits(row: Row, asked: Asked, waiting: Collection[str] = ()) -> bool:
    return (
        (not asked.states or row.state in asked.states)
        and (not asked.blocked or asked.blocked in row.failed or asked.blocked in row.waits)
        and (not asked.causes or not set(asked.causes).isdisjoint(row.causes))
        and (not asked.marks or not set(asked.marks).isdisjoint(row.marks))
        and (not asked.waiting or row.subject in waiting)
    )


def counts(rows: Sequence[Row]) -> Mapping[str, Mapping[str, int]]:
    """How many people each value of each filter would show, over everybody."""
    return {
        "state": Counter(row.state for row in rows),
        "mark": Counter(mark for row in rows for mark in row.marks),
        "cause": Counter(cause for row in rows for cause in row.causes),
        "criterion": Counter(one for row in rows for one in (*row.failed, *row.waits)),
    }


def _order(sort: Sort) -> Callable[[Row], tuple[Any, ...]]:
    """A total order: the Patient.id decides between equals."""
    ways: Mapping[Sort, Callable[[Row], tuple[Any, ...]]] = {
        "next": lambda row: (_urgency(row), len(row.waits), row.next_due or _LAST, row.subject),
        "missing": lambda row: (len(row.waits) or 1000, row.subject),
        "age": lambda row: (row.age is None, row.age or 0, row.subject),
        "entered": lambda row: (row.entered or _LAST, row.subject),
        "id": lambda row: (row.subject,),
    }
    return ways[sort]


def _urgency(row: Row) -> int:
    """Who needs a person first: safety and exits, those no longer eligible, late reviews, the eligible, and
    the open ones; the rest in the order of their states."""
    if {"safety", "exit"} & set(row.marks) and row.state == "on_study":
        return 0
    if {"no_longer_eligible", "enrolled_elsewhere"} & set(row.marks):
        return 1
    if "overdue" in row.marks and row.state == "on_study":
        return 2
    return 3 + ("eligible", "undetermined", "on_study", "off_study", "ineligible").index(row.state)
