"""The attrition funnel: from everyone in the hospital to those who may be eligible, and why not the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import msgspec

from adapter.model.decision import CriterionResult, Decision, Overall, Verdict
from adapter.model.facts import Account, Facts


class Sifted(msgspec.Struct, frozen=True):
    """Resources landed, those proven to be other people's before parsing, and how the rest added up."""

    landed: int
    sieved: int
    accounts: tuple[Account, ...]

    @property
    def balanced(self) -> bool:
        read = sum(account.read for account in self.accounts)
        return self.landed == self.sieved + read and all(account.balanced for account in self.accounts)


class Reason(msgspec.Struct, frozen=True):
    """One criterion that stands between people and eligibility, how it stands, and for how many."""

    criterion: str
    verdict: Verdict
    people: int
    only: int


class Funnel(msgspec.Struct, frozen=True):
    """Counts of people.

    ``suspected`` have the diagnosis or another sign the protocol's candidates clause names; ``coded`` of
    them have the diagnosis on record. ``enrolled`` are in the study already, the rest are ``candidates``,
    who share the three outcomes.
    """

    patients: int
    suspected: int
    coded: int
    enrolled: int
    candidates: int
    eligible: int
    undetermined: int
    ineligible: int
    review: int
    reasons: tuple[Reason, ...] = ()


_COUNTED = (
    "suspected",
    "coded",
    "enrolled",
    "candidates",
    "eligible",
    "undetermined",
    "ineligible",
    "review",
)


def funnel_of(
    patients: int,
    facts: Facts,
    decisions: Sequence[Decision],
    *,
    enrolled: frozenset[str],
    diagnoses: Collection[str],
    counted: Sequence[str],
) -> Funnel:
    """Count people by stage.

    ``diagnoses`` are the event concepts that count as having the disease, ``counted`` the criteria that
    make the overall verdict. ``Reason.only`` counts those for whom nothing else stands in the way.
    """
    diagnosed = {event.subject for event in facts.events if event.concept in diagnoses and not event.excluded}
    screened = [decision for decision in decisions if decision.subject not in enrolled]
    overall = Counter(decision.overall for decision in screened)
    return Funnel(
        patients=patients,
        suspected=len(decisions),
        coded=len(diagnosed),
        enrolled=len(decisions) - len(screened),
        candidates=len(screened),
        eligible=overall[Overall.ELIGIBLE],
        undetermined=overall[Overall.UNDETERMINED],
        ineligible=overall[Overall.INELIGIBLE],
        review=sum(decision.review for decision in screened),
        reasons=tuple(_reasons(screened, counted)),
    )


def together(patients: int, funnels: Iterable[Funnel]) -> Funnel:
    """The funnel of all people from those of some of them; nobody may be in two. ``patients`` of theirs is
    not read."""
    counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
    people: Counter[tuple[str, Verdict]] = Counter()
    only: Counter[tuple[str, Verdict]] = Counter()
    for one in funnels:
        counts.update({name: getattr(one, name) for name in _COUNTED})
        for reason in one.reasons:
            people[reason.criterion, reason.verdict] += reason.people
            only[reason.criterion, reason.verdict] += reason.only
    return Funnel(patients=patients, reasons=tuple(_ranked(people, only)), **counts)


def obstacles(decision: Decision, counted: Sequence[str]) -> list[CriterionResult]:
    """The counted criteria that keep this decision from ``eligible``: failures if any, else unknowns."""
    results = [decision.criterion(name) for name in counted]
    failed = [one for one in results if one.verdict is _failing(one)]
    return failed or [one for one in results if one.verdict is Verdict.UNKNOWN]


def _failing(result: CriterionResult) -> Verdict:
    return Verdict.MET if result.kind == "exclusion" else Verdict.NOT_MET


def _reasons(screened: Sequence[Decision], counted: Sequence[str]) -> list[Reason]:
    people: Counter[tuple[str, Verdict]] = Counter()
    only: Counter[tuple[str, Verdict]] = Counter()
    for decision in screened:
        blocking = obstacles(decision, counted)
        for result in blocking:
            people[(result.id, result.verdict)] += 1
            only[(result.id, result.verdict)] += len(blocking) == 1
    return _ranked(people, only)


def _ranked(people: Counter[tuple[str, Verdict]], only: Counter[tuple[str, Verdict]]) -> list[Reason]:
    ranked = sorted(people, key=lambda key: (-people[key], key[0], key[1].value))
    return [Reason(*key, people[key], only[key]) for key in ranked]
