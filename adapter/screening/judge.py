"""From the lines of some people to their facts and decisions: the same for one unit as for all together.

A decision is a pure function of the person's own facts (coverage rows included), the rules, the day and the
time zone: :func:`adapter.protocol.evaluate_candidate` sees nothing else. So the former decision stands if all
of these are the same bytes, and is worked out again otherwise. Facts are compared as mapped: they carry the
hash of the resource they were read from, and what a Medication or a merged record lends them.
"""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import chain
from typing import NamedTuple

import msgspec

from adapter import mappers, protocol
from adapter.model import wire
from adapter.model.coverage import Coverage, order
from adapter.model.decision import Decision
from adapter.model.facts import Account, Facts
from adapter.model.funnel import Funnel, funnel_of
from adapter.model.issue import Issue
from adapter.model.resource import RawResource
from adapter.trial import Trial

TABLES = ("subjects", "findings", "events", "interventions")


class Basis(msgspec.Struct, frozen=True):
    """What one person's decision rests on: ``digest`` of everything it depends on, and of itself.

    ``decision`` is the SHA-256 of the decision's row; "" for a person nominated and found to be no candidate.
    """

    subject: str
    digest: str
    decision: str


Former = Mapping[str, tuple[Basis, Decision | None]]


class Question(NamedTuple):
    """What is asked of every unit.

    ``wanted`` are the nominated Patient ids, ``coverage`` the landing's rows by subject, ``gaps`` the rows
    that lines without an owner cost everybody, wherever they were read. ``rules`` is what a decision depends
    on that is the same for all people (:func:`rules_of`).
    """

    trial: Trial
    as_of: date
    wanted: frozenset[str]
    coverage: Mapping[str, tuple[Coverage, ...]]
    gaps: tuple[Coverage, ...]
    rules: bytes


class Opinion(NamedTuple):
    """What one unit comes to. ``facts`` holds the rows of those decided about, and every issue met;
    ``lost`` are the coverage rows of what could not be read; ``basis`` is of everybody nominated."""

    facts: Facts
    lost: tuple[Coverage, ...]
    decisions: tuple[Decision, ...]
    basis: tuple[Basis, ...]
    funnel: Funnel
    reused: int


class PersonRows(msgspec.Struct, frozen=True, array_like=True):
    """One person's rows as they are written, a line each; ``decision`` is empty for who is no candidate."""

    subject: str
    tables: tuple[bytes, bytes, bytes, bytes]
    decision: bytes
    basis: bytes


class Judged(msgspec.Struct, frozen=True, array_like=True):
    """An :class:`Opinion` in bytes: what a process hands to another, and what is kept for the next time."""

    people: tuple[PersonRows, ...]
    issues: tuple[Issue, ...]
    accounts: tuple[Account, ...]
    lost: tuple[Coverage, ...]
    funnel: Funnel
    reused: int = 0


def by_subject(rows: Iterable[Coverage]) -> dict[str, tuple[Coverage, ...]]:
    found: dict[str, list[Coverage]] = {}
    for row in rows:
        found.setdefault(row.subject, []).append(row)
    return {subject: tuple(own) for subject, own in found.items()}


def rules_of(trial: Trial, versions: Mapping[str, str]) -> bytes:
    """Everything a decision depends on that is the same for all people, the program itself included."""
    names = ("protocol_sha256", "mappings_sha256", "software_sha256")
    return "".join(f"{versions[name]}\n" for name in names).encode() + f"{trial.site.zone.key}\n".encode()


def judge(
    lines: Iterable[RawResource],
    lent: Iterable[RawResource],
    question: Question,
    former: Former | None = None,
) -> Judged:
    """:func:`decide`, in bytes."""
    return packed(decide(lines, lent, question, former))


@contextmanager
def _without_search_for_cycles() -> Iterator[None]:
    """What mapping and judging build are trees: all of it goes when its last name does.

    Python would look through them for cycles all the time, a fifth of the work, and find none.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


@_without_search_for_cycles()
def decide(
    lines: Iterable[RawResource],
    lent: Iterable[RawResource],
    question: Question,
    former: Former | None = None,
) -> Opinion:
    """Map the lines of one unit and judge its people.

    ``lent`` are Medications and ResearchStudies that the unit may look up and that are not among its lines:
    they are read, and counted elsewhere. Never raises on data.
    """
    trial = question.trial
    lent = tuple(lent)
    facts = _mapped(chain(lines, lent), trial)
    if lent:
        facts = msgspec.structs.replace(
            facts, accounts=without(facts.accounts, _mapped(lent, trial).accounts)
        )
    lost = facts.coverage
    people = [row.id for row in facts.subjects]
    facts = msgspec.structs.replace(facts, coverage=_coverage(question, people, lost))
    facts = only(facts, question.wanted, ())
    facts = msgspec.structs.replace(facts, issues=_of_who_was_asked_for(facts.issues, question.wanted))
    enrolled = enrolment_days(facts, trial.protocol.id, question.as_of)
    decisions, basis, reused = _decisions(facts, enrolled, question, former or {})
    decided = frozenset(decision.subject for decision in decisions)
    facts = only(facts, decided, ())
    funnel = funnel_of(
        0,
        facts,
        decisions,
        enrolled=decided & enrolled.keys(),
        diagnoses=trial.protocol.candidates.events,
        counted=trial.protocol.counts,
    )
    return Opinion(facts, lost, decisions, basis, funnel, reused)


def packed(opinion: Opinion) -> Judged:
    rows: dict[str, list[list[bytes]]] = {one.subject: [[], [], [], []] for one in opinion.basis}
    for number, table in enumerate(TABLES):
        for row in getattr(opinion.facts, table):
            rows[row.id if table == "subjects" else row.subject][number].append(wire.encode(row))
    decisions = {one.subject: wire.encode(one) + b"\n" for one in opinion.decisions}
    people = tuple(
        PersonRows(
            one.subject,
            (*(_lines(rows[one.subject][number]) for number in range(4)),),  # type: ignore[arg-type]
            decisions.get(one.subject, b""),
            wire.encode(one) + b"\n",
        )
        for one in opinion.basis
    )
    facts = opinion.facts
    return Judged(people, facts.issues, facts.accounts, opinion.lost, opinion.funnel, opinion.reused)


def _lines(rows: list[bytes]) -> bytes:
    return b"\n".join([*rows, b""]) if rows else b""


def lost_by_all(lost: Iterable[Coverage]) -> tuple[Coverage, ...]:
    """Of the coverage rows of what could not be read, those about everybody: what ``Question.gaps`` takes."""
    return gathered(row for row in lost if not row.subject)


def gathered(lost: Iterable[Coverage]) -> tuple[Coverage, ...]:
    """Coverage rows of what could not be read, each once, in the order of one run over everything."""
    return tuple(sorted(set(lost), key=lambda one: (one.resource_type, one.subject, one.reason, one.limited)))


def _mapped(lines: Iterable[RawResource], trial: Trial) -> Facts:
    return mappers.map_resources(
        lines, terminology=trial.terminology, zone=trial.site.zone, options=trial.site.options
    )


def without(accounts: tuple[Account, ...], lent: tuple[Account, ...]) -> tuple[Account, ...]:
    """Accounts less what is counted elsewhere."""
    elsewhere = {one.resource_type: one for one in lent}
    left = [_less(one, elsewhere.get(one.resource_type)) for one in accounts]
    return tuple(one for one in left if one.read)


def _less(account: Account, other: Account | None) -> Account:
    if other is None:
        return account
    return Account(
        account.resource_type,
        account.read - other.read,
        account.facts - other.facts,
        account.issues - other.issues,
        account.not_relevant - other.not_relevant,
    )


def accounts_of(parts: Iterable[tuple[Account, ...]]) -> tuple[Account, ...]:
    """The accounts of all units together."""
    counts: Counter[tuple[str, str]] = Counter()
    types: set[str] = set()
    for accounts in parts:
        for one in accounts:
            types.add(one.resource_type)
            counts[one.resource_type, "read"] += one.read
            counts[one.resource_type, "facts"] += one.facts
            counts[one.resource_type, "issues"] += one.issues
            counts[one.resource_type, "not_relevant"] += one.not_relevant
    names = ("read", "facts", "issues", "not_relevant")
    return tuple(Account(kind, *(counts[kind, name] for name in names)) for kind in sorted(types))


def _coverage(question: Question, people: Iterable[str], lost: Iterable[Coverage]) -> tuple[Coverage, ...]:
    """The rows that bear on these people: the landing's, and what could not be read of theirs or of all."""
    known = [row for name in ("", *people) for row in question.coverage.get(name, ())]
    return tuple(sorted((*known, *gathered((*question.gaps, *lost))), key=order))


def only(facts: Facts, wanted: frozenset[str], issues: Iterable[Issue]) -> Facts:
    """The facts of those who were asked for: the sieve may have kept more."""
    survivors = {one.id for one in facts.subjects if wanted & {one.id, *one.merged}}
    return Facts(
        subjects=tuple(row for row in facts.subjects if row.id in survivors),
        findings=tuple(row for row in facts.findings if row.subject in survivors),
        events=tuple(row for row in facts.events if row.subject in survivors),
        interventions=tuple(row for row in facts.interventions if row.subject in survivors),
        issues=tuple(sorted({*facts.issues, *issues}, key=issue_order)),
        accounts=facts.accounts,
        coverage=facts.coverage,
    )


def _of_who_was_asked_for(issues: tuple[Issue, ...], wanted: frozenset[str]) -> tuple[Issue, ...]:
    """Of others nobody knows whether their record was sent: the sieve dropped it."""
    return tuple(one for one in issues if one.code != "PATIENT_NOT_SENT" or one.subject in wanted)


def issue_order(one: Issue) -> tuple[object, ...]:
    """The order of issues in a screening; no two that differ are equal in it."""
    place = (one.resource_type, one.reference, one.code, one.path)
    return (*place, one.detail, one.subject, one.severity, one.fatal_for_resource)


def enrolment_days(facts: Facts, study: str, as_of: date) -> dict[str, date]:
    """Day of entry of everyone who is, or was, on this study by ``as_of``.

    Entry is ResearchSubject.period.start. A status that only proposes (candidate, eligible ...) is no entry.
    """
    days: dict[str, date] = {}
    for event in facts.events:
        if (
            event.concept == "research_subject"
            and not event.excluded
            and event.presence in ("present", "past")
            and study in event.attribute("study_identifier").split()
            and event.start is not None
            and event.start.first <= as_of
        ):
            days[event.subject] = min(event.start.first, days.get(event.subject, event.start.first))
    return days


def _decisions(
    facts: Facts, enrolled: Mapping[str, date], question: Question, former: Former
) -> tuple[tuple[Decision, ...], tuple[Basis, ...], int]:
    """Decisions of the candidates, what each person's rests on, and how many were taken from before."""
    trial, as_of = question.trial, question.as_of
    decisions: list[Decision] = []
    basis: list[Basis] = []
    reused = 0
    for subject, own in facts.by_subject().items():
        assessed = _assessed(as_of, enrolled.get(subject))
        digest = sha256(question.rules, f"{as_of} {assessed}\n".encode(), wire.encode(_decisive(own)))
        before = former.get(subject)
        if before is not None and before[0].digest == digest:
            decision = before[1]
            reused += 1
        else:
            decision = protocol.evaluate_candidate(
                trial.protocol, own, as_of=as_of, assessed=assessed, zone=trial.site.zone
            )
        basis.append(Basis(subject, digest, sha256(wire.encode(decision)) if decision else ""))
        decisions += [decision] if decision else []
    return tuple(decisions), tuple(basis), reused


def _decisive(own: Facts) -> Facts:
    """Without issues: no rule reads them, and some name a line number that shifts with the landing."""
    return msgspec.structs.replace(own, issues=())


def _assessed(as_of: date, enrolled: date | None) -> date:
    """People on the study are judged as they were the day before they entered it, others as they are."""
    return as_of if enrolled is None else enrolled - timedelta(days=1)


def sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
