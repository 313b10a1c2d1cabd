"""One line of the worklist: how somebody stands, what is missing, and what to know at a glance."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Literal, get_args

import msgspec

from adapter.model.dates import completed_years
from adapter.model.decision import CriterionResult, Decision, Overall, Verdict
from adapter.model.facts import Event, Subject
from adapter.model.funnel import obstacles
from adapter.model.monitoring import Monitoring
from adapter.model.protocol import Protocol
from adapter.protocol import settle
from adapter.writeback.status import contradicts, is_code, stage_of

State = Literal["eligible", "undetermined", "ineligible", "on_study", "off_study"]
Cause = Literal[
    "attest", "missing", "stale", "unmapped", "unit", "comparator", "conflict", "fetch", "judgement"
]
Mark = Literal["no_longer_eligible", "enrolled_elsewhere", "review", "deceased", "safety", "exit", "overdue"]
STATES: tuple[State, ...] = get_args(State)
CAUSES: tuple[Cause, ...] = get_args(Cause)
MARKS: tuple[Mark, ...] = get_args(Mark)

_WORDS: tuple[tuple[str, Cause], ...] = (
    ("an answer to the question", "attest"),
    ("an exact value", "comparator"),
    ("a usable reading of", "missing"),
    ("a statement about", "missing"),
    ("the date of", "missing"),
    ("the full date of", "missing"),
)


class Waiting(msgspec.Struct, frozen=True):
    """One open question: the criterion, what would settle it, and why it is open."""

    criterion: str
    text: str
    settles: tuple[str, ...]
    causes: tuple[Cause, ...]
    questions: tuple[str, ...] = ()
    pending: bool = False


class Row(msgspec.Struct, frozen=True):
    """One person. ``failed`` are the criteria that keep them out, ``waits`` those that are open and would
    settle the verdict; ``age`` is in completed years on the screening's day."""

    key: str
    subject: str
    state: State
    overall: Overall
    sex: str
    age: int | None
    failed: tuple[str, ...]
    waits: tuple[str, ...]
    causes: tuple[Cause, ...]
    marks: tuple[Mark, ...]
    flags: tuple[str, ...]
    arm: str = ""
    entered: date | None = None
    next_due: date | None = None
    next_what: str = ""
    overdue: int = 0
    safety: tuple[str, ...] = ()
    exits: tuple[str, ...] = ()


def waiting(protocol: Protocol, decision: Decision) -> tuple[Waiting, ...]:
    """What an undetermined decision waits for, in protocol order; empty if it is settled."""
    return tuple(
        Waiting(
            question.id,
            question.text,
            question.settles,
            causes_of(decision.criterion(question.id), question.settles),
            tuple(dict.fromkeys(filter(None, map(_question, question.settles)))),
            question.pending,
        )
        for question in settle(protocol, decision)
    )


def causes_of(result: CriterionResult, settles: Iterable[str]) -> tuple[Cause, ...]:
    """Why an unknown is open, from its flags, the readings it left aside and what it asks for."""
    found: set[Cause] = set()
    asked = tuple(settles)
    aside = [row.why for row in result.evidence if row.role == "ignored"]
    if any(why.startswith("UNIT_") or why == "IMPLAUSIBLE" for why in (*aside, *result.flags)):
        found.add("unit")
    if "outside the window" in aside:
        found.add("stale")
    if "CONFLICT" in result.flags or "ATTESTATION_DIFFERS" in result.flags:
        found.add("conflict")
    if any("did not come" in text for text in asked):
        found.add("fetch")
    for text in asked:
        found |= {cause for words, cause in _WORDS if text.startswith(words)}
    return tuple(cause for cause in CAUSES if cause in found) or ("judgement",)


def row_of(
    protocol: Protocol,
    decision: Decision,
    person: Subject,
    enrolments: Iterable[Event],
    followed: Monitoring | None,
    *,
    as_of: date,
    key: str,
    entered: date | None,
    told_eligible: bool,
    unmapped: bool = False,
) -> Row:
    """``enrolments`` are the person's ResearchSubject events, ``entered`` the day of entry into this study,
    ``told_eligible`` whether the hospital was once told that they are eligible, ``unmapped`` whether a
    reading of theirs is of a code that nobody has mapped."""
    enrolments = tuple(enrolments)
    latest = _latest((one for one in enrolments if _on(one, protocol.study.identifier)), as_of)
    state: State = decision.overall.value
    if entered is not None:
        left = latest is not None and (
            latest.status == "off-study" or bool(latest.end and latest.end.last <= as_of)
        )
        state = "off_study" if left else "on_study"
    opened = waiting(protocol, decision)
    blocking = obstacles(decision, protocol.counts)
    failed = [one.id for one in blocking if one.verdict is not Verdict.UNKNOWN]
    met = _met(followed)
    birth = person.birth
    due = followed.due if followed is not None else ()
    coming = sorted((one for one in due if one.status != "done"), key=lambda one: (one.last, one.id))
    ladders = followed.ladders if followed is not None else ()
    row = Row(
        key=key,
        subject=decision.subject,
        state=state,
        overall=decision.overall,
        sex=person.sex,
        age=completed_years(birth.first, as_of) if birth and birth.day else None,
        failed=tuple(failed) if state == "ineligible" else (),
        waits=tuple(one.criterion for one in opened) if state == "undetermined" else (),
        causes=_causes(opened, unmapped) if state == "undetermined" else (),
        marks=(),
        flags=_flags(decision),
        arm=followed.arm if followed else "",
        entered=entered,
        next_due=coming[0].last if coming else None,
        next_what=coming[0].what if coming else "",
        overdue=sum(one.status == "overdue" for one in due) + sum(one.overdue for one in ladders),
        safety=met["safety"],
        exits=met["exits"],
    )
    said_eligible = told_eligible or _said_to_be_candidate(latest, decision.overall)
    elsewhere = any(_elsewhere(one, protocol.study.identifier, as_of) for one in enrolments)
    marks = _marks(row, decision.review, person.deceased, said_eligible, elsewhere)
    return msgspec.structs.replace(row, marks=tuple(marks))


def _marks(row: Row, review: bool, deceased: bool, said_eligible: bool, elsewhere: bool) -> Iterable[Mark]:
    candidate = row.entered is None
    if candidate and said_eligible and row.overall is not Overall.ELIGIBLE:
        yield "no_longer_eligible"
    if candidate and elsewhere:
        yield "enrolled_elsewhere"
    if candidate and review:
        yield "review"
    if deceased:
        yield "deceased"
    if row.safety:
        yield "safety"
    if row.exits and row.state == "on_study":
        yield "exit"
    if row.overdue:
        yield "overdue"


def _on(event: Event, study: str) -> bool:
    return not event.excluded and study in event.attribute("study_identifier").split()


def _elsewhere(event: Event, study: str, as_of: date) -> bool:
    """On another study on the day; a registry that only observes is no other trial."""
    return (
        not event.excluded
        and study not in event.attribute("study_identifier").split()
        and event.attribute("study_type") != "observational"
        and event.presence == "present"
        and event.start is not None
        and event.start.first <= as_of
        and (event.end is None or event.end.last >= as_of)
    )


def _latest(own: Iterable[Event], as_of: date) -> Event | None:
    """The person's latest ResearchSubject of this study; one without a start counts as the oldest."""
    known = [one for one in own if one.start is None or one.start.first <= as_of]
    return max(known, key=lambda one: str(one.start.first) if one.start else "", default=None)


def _said_to_be_candidate(latest: Event | None, overall: Overall) -> bool:
    """Whether the hospital still holds them for a candidate although a criterion definitely fails."""
    if latest is None or not is_code(latest.status):
        return False
    return stage_of(latest.status) in ("proposed", "screening") and contradicts(latest.status, overall)


def _causes(opened: Iterable[Waiting], unmapped: bool) -> tuple[Cause, ...]:
    """Of a missing reading the cause may be a code that nobody has mapped."""
    found = {cause for one in opened for cause in one.causes}
    if unmapped and "missing" in found:
        found.add("unmapped")
    return tuple(cause for cause in CAUSES if cause in found)


def _met(followed: Monitoring | None) -> dict[str, tuple[str, ...]]:
    if followed is None:
        return {"safety": (), "exits": ()}
    return {
        name: tuple(one.id for one in getattr(followed, name) if one.verdict is Verdict.MET)
        for name in ("safety", "exits")
    }


def _flags(decision: Decision) -> tuple[str, ...]:
    return tuple(sorted({flag for top in decision.criteria for one in top.walk() for flag in one.flags}))


def _question(text: str) -> str:
    """The linkId in "an answer to the question 'ulcer'"."""
    head, _, rest = text.partition("an answer to the question '")
    return rest.partition("'")[0] if not head else ""
