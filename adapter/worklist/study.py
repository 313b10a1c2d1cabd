"""The study as a whole: enrolment, outcomes by arm so far, deviations, what is late, how good the data are.

Counts come from the same files as ``adapter screen`` and ``adapter monitor`` print. Where people are named it
is by the key of their page, for those who may open it.
"""

from __future__ import annotations

from collections import Counter
from datetime import date

import msgspec

from adapter.model.coverage import Coverage
from adapter.model.decision import CriterionResult, Verdict
from adapter.model.facts import Account
from adapter.model.funnel import Funnel
from adapter.model.monitoring import Due
from adapter.model.results import ResultsTable
from adapter.worklist.board import Board
from adapter.worklist.candidate import Row


class Enrolment(msgspec.Struct, frozen=True):
    """``planned`` is the protocol's number, None if it names none; ``monthly`` counts entries by month."""

    planned: int | None
    entered: int
    on_study: int
    by_arm: tuple[tuple[str, int], ...]
    monthly: tuple[tuple[str, int], ...]


class Found(msgspec.Struct, frozen=True):
    """Something met about somebody on the study."""

    row: Row
    result: CriterionResult


class Late(msgspec.Struct, frozen=True):
    """A review or visit whose window passed without a result; of a ladder ``what`` is its id and state."""

    row: Row
    id: str
    what: str
    first: date | None
    last: date | None
    ladder: bool = False


class Quality(msgspec.Struct, frozen=True):
    """One site's data: issues by code, how resources added up, what was not fetched whole."""

    site: str
    landed: int
    sieved: int
    balanced: bool
    accounts: tuple[Account, ...]
    issues: tuple[tuple[str, str, int], ...]
    partial: tuple[Coverage, ...]
    landed_at: str = ""


class Study(msgspec.Struct, frozen=True):
    as_of: date
    followed_as_of: date | None
    enrolment: Enrolment
    funnel: Funnel
    results: ResultsTable | None
    deviations: tuple[Found, ...]
    exits: tuple[Found, ...]
    safety: tuple[Found, ...]
    late: tuple[Late, ...]
    quality: tuple[Quality, ...]


def study(board: Board) -> Study:
    """Everything on the page, from one board."""
    rows = {row.subject: row for row in board.rows}
    followed = [one for one in board.followed.values() if one.subject in rows]
    return Study(
        as_of=board.as_of,
        followed_as_of=followed[0].as_of if followed else None,
        enrolment=_enrolment(board),
        funnel=board.summary.funnel,
        results=board.results,
        deviations=tuple(Found(rows[one.subject], met) for one in followed for met in _met(one.deviations)),
        exits=tuple(Found(rows[one.subject], met) for one in followed for met in _met(one.exits)),
        safety=tuple(Found(rows[one.subject], met) for one in followed for met in _met(one.safety)),
        late=tuple(
            sorted(_late(board, rows), key=lambda one: (one.last or date.max, one.row.subject, one.id))
        ),
        quality=(_quality(board),),
    )


def _enrolment(board: Board) -> Enrolment:
    entered = [row for row in board.rows if row.entered is not None]
    arms = Counter(row.arm for row in entered)
    known = [arm.code for arm in board.trial.protocol.study.arms]
    months = Counter(f"{row.entered:%Y-%m}" for row in entered if row.entered is not None)
    return Enrolment(
        planned=board.trial.protocol.study.enrolment,
        entered=len(entered),
        on_study=sum(row.state == "on_study" for row in entered),
        by_arm=tuple((arm, arms[arm]) for arm in (*known, *sorted(set(arms) - set(known)))),
        monthly=tuple(sorted(months.items())),
    )


def _met(found: tuple[CriterionResult, ...]) -> list[CriterionResult]:
    return [one for one in found if one.verdict is Verdict.MET]


def _late(board: Board, rows: dict[str, Row]) -> list[Late]:
    found: list[Late] = []
    for one in board.followed.values():
        if one.subject not in rows:
            continue
        row = rows[one.subject]
        found += [_due(row, due) for due in one.due if due.status == "overdue"]
        found += [
            Late(row, state.ladder, state.state, state.review_first, state.review_last, ladder=True)
            for state in one.ladders
            if state.overdue
        ]
    return found


def _due(row: Row, due: Due) -> Late:
    return Late(row, due.id, due.what, due.first, due.last)


def _quality(board: Board) -> Quality:
    sifted = board.summary.sifted
    issues = Counter((one.code, one.severity) for one in board.tables.issues)
    return Quality(
        site=board.trial.site.name,
        landed=sifted.landed,
        sieved=sifted.sieved,
        balanced=sifted.balanced,
        accounts=sifted.accounts,
        issues=tuple(
            (*key, count) for key, count in sorted(issues.items(), key=lambda one: (-one[1], one[0]))
        ),
        partial=tuple(one for one in board.tables.coverage if not one.complete),
    )
