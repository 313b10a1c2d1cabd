"""What a trial needs to know about an enrolled subject as of a day: outcomes, exits, doses, what is due.

The same three values, evidence and other readings as eligibility: every line is a
:class:`adapter.model.decision.CriterionResult`. Software proposes; a person confirms.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

from adapter.model.decision import CriterionResult, Evidence

Response = Literal["complete", "partial", "none", "relapse", "unknown"]
DueStatus = Literal["done", "upcoming", "due", "overdue"]


class ResponseRead(msgspec.Struct, frozen=True):
    """What the response would be if one line of the table were read in another way."""

    name: str
    reading: str
    response: Response


class VisitState(msgspec.Struct, frozen=True):
    """The response at one planned visit, by the reading that its window holds nearest the target day.

    ``alternatives`` are other readings of the table; one that differs is flagged READING_DIFFERS.
    """

    visit: str
    name: str
    target: date
    first: date
    last: date
    response: Response
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()
    alternatives: tuple[ResponseRead, ...] = ()
    flags: tuple[str, ...] = ()


class LadderStep(msgspec.Struct, frozen=True):
    """One move of a ladder: the day, what triggered it, what it asks a person to do.

    ``dose`` is the daily dose after the step ("2 mg/d"), if the ladder moves one and the dose was known.
    """

    source: str
    target: str
    on: date
    trigger: str
    action: str = ""
    dose: str = ""
    flags: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


class LadderState(msgspec.Struct, frozen=True):
    """Where a declarative ladder (dose halving, liver enzymes) stands for one subject.

    ``review_first``..``review_last`` is the window of the next review; ``overdue`` that it passed without
    a result. ``revisions`` say what an earlier replay would have done before results were corrected or
    came late ("would have been halved on ...; result corrected on ..."). ``latest`` are the readings of the
    newest day that was looked at, whether or not they moved anything.
    """

    ladder: str
    state: str
    entered: date | None = None
    review_first: date | None = None
    review_last: date | None = None
    overdue: bool = False
    terminal: bool = False
    steps: tuple[LadderStep, ...] = ()
    revisions: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    settles: tuple[str, ...] = ()
    latest: tuple[Evidence, ...] = ()


class Due(msgspec.Struct, frozen=True):
    """Something the protocol wants between two days."""

    id: str
    what: str
    target: date
    first: date
    last: date
    status: DueStatus
    source: str = ""


class Monitoring(msgspec.Struct, frozen=True):
    """One enrolled subject as of one day.

    ``days_to`` holds named times from randomisation (``complete_remission``, ``remission``, ``relapse``) as
    days, only where the event was seen. ``fingerprint`` as in :class:`adapter.model.decision.Decision`.
    """

    subject: str
    protocol: str
    protocol_version: str
    as_of: date
    randomised: date | None = None
    arm: str = ""
    endpoints: tuple[CriterionResult, ...] = ()
    exits: tuple[CriterionResult, ...] = ()
    doses: tuple[CriterionResult, ...] = ()
    safety: tuple[CriterionResult, ...] = ()
    deviations: tuple[CriterionResult, ...] = ()
    visits: tuple[VisitState, ...] = ()
    ladders: tuple[LadderState, ...] = ()
    due: tuple[Due, ...] = ()
    days_to: tuple[tuple[str, int], ...] = ()
    fingerprint: str = ""
