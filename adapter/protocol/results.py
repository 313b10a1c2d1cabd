"""Outcomes by arm, from the monitoring of every subject.

"Total evaluated patients" of the registry's outcome measures are those with a known verdict; beside them
stands everyone randomised, where a missing verdict counts as not met (for a response: as no response).
Verdicts come from :class:`adapter.model.monitoring.Monitoring`; nothing is judged here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import combinations
from math import sqrt
from typing import Literal, NamedTuple

import msgspec

from adapter.model.decision import CriterionResult, Verdict
from adapter.model.kleene import Truth, any_of
from adapter.model.monitoring import Monitoring, VisitState
from adapter.model.results import (
    ArmCount,
    Difference,
    Interval,
    Outcome,
    Population,
    Rate,
    ResultsTable,
    Standing,
    SubjectOutcome,
)

NOT_APPLICABLE = "NOT_APPLICABLE"
POPULATIONS: tuple[Population, ...] = ("evaluated", "itt")
_PLACES = Decimal("0.0001")
_TRUTHS = {Verdict.MET: Truth.TRUE, Verdict.NOT_MET: Truth.FALSE, Verdict.UNKNOWN: Truth.UNKNOWN}
_STANDINGS: dict[Truth, Standing] = {Truth.TRUE: "met", Truth.FALSE: "not_met", Truth.UNKNOWN: "missing"}


class Outcomes(msgspec.Struct, frozen=True):
    """The fields of a :class:`Monitoring` that the outcomes by arm are counted from."""

    subject: str
    protocol: str
    protocol_version: str
    as_of: date
    randomised: date | None
    arm: str
    endpoints: tuple[CriterionResult, ...]
    visits: tuple[VisitState, ...]


class CountedEndpoint(NamedTuple):
    """One endpoint of one person; ``evidence`` are the records that were used."""

    id: str
    verdict: Verdict
    flags: tuple[str, ...]
    evidence: tuple[str, ...]


class Counted(NamedTuple):
    """What of one person goes into the outcomes by arm; ``until`` is the last day of the last visit."""

    subject: str
    protocol: str
    protocol_version: str
    as_of: date
    randomised: date | None
    arm: str
    endpoints: tuple[CountedEndpoint, ...]
    until: date | None


def counted(row: Monitoring | Outcomes) -> Counted:
    return Counted(
        row.subject,
        row.protocol,
        row.protocol_version,
        row.as_of,
        row.randomised,
        row.arm,
        tuple(
            CountedEndpoint(one.id, one.verdict, one.flags, tuple(sorted({*_references(one)})))
            for one in row.endpoints
        ),
        max((visit.last for visit in row.visits), default=None),
    )


def results(
    monitorings: Iterable[Monitoring | Counted],
    *,
    arms: Sequence[str] = (),
    combined: Mapping[str, tuple[str, ...]] | None = None,
) -> ResultsTable:
    """One outcome for each endpoint of the rows, then each of ``combined`` (met if any of its endpoints is).

    ``arms`` are in the order in which they are compared; an arm found only in the rows comes after them.
    People without a day of randomisation by then are left out. Raises ValueError if a subject comes twice,
    or if the rows are of several protocols, versions or days.
    """
    rows = sorted(
        (row if isinstance(row, Counted) else counted(row) for row in monitorings),
        key=lambda row: row.subject,
    )
    if len({row.subject for row in rows}) < len(rows):
        raise ValueError("a subject has several rows")
    kinds = {(row.protocol, row.protocol_version, row.as_of) for row in rows}
    if len(kinds) > 1:
        raise ValueError("rows of several protocols, versions or days make no table")
    protocol, version, as_of = next(iter(kinds), ("", "", None))
    people = [row for row in rows if row.randomised is not None and row.randomised <= row.as_of]
    order = (*arms, *sorted({row.arm for row in people} - set(arms)))
    ids = list(dict.fromkeys(endpoint.id for row in people for endpoint in row.endpoints))
    wanted = {**{one: (one,) for one in ids}, **(combined or {})}
    outcomes = tuple(_outcome(name, of, people, order) for name, of in wanted.items())
    return ResultsTable(protocol, version, as_of, order, outcomes)


def _outcome(name: str, of: tuple[str, ...], people: Sequence[Counted], arms: Sequence[str]) -> Outcome:
    subjects = tuple(_subject(row, of) for row in people)
    counts = tuple(_count(arm, [one for one in subjects if one.arm == arm]) for arm in arms)
    met = Counter(one.arm for one in subjects if one.standing == "met")
    rates = tuple(
        _rate(count.arm, population, met[count.arm], _denominator(count, population))
        for population in POPULATIONS
        for count in counts
    )
    differences = tuple(
        Difference(
            first.arm,
            second.arm,
            population,
            _rounded(first.met / first.of - second.met / second.of),
            newcombe(first.met, first.of, second.met, second.of),
        )
        for population in POPULATIONS
        for first, second in combinations([rate for rate in rates if rate.population == population], 2)
        if first.of and second.of
    )
    return Outcome(name, of, counts, rates, differences, subjects)


def _subject(row: Counted, of: tuple[str, ...]) -> SubjectOutcome:
    found = [endpoint for endpoint in row.endpoints if endpoint.id in of]
    applicable = [endpoint for endpoint in found if NOT_APPLICABLE not in endpoint.flags]
    standing: Standing = "missing"
    if found and not applicable:
        standing = "not_applicable"
    elif len(found) == len(of):
        standing = _STANDINGS[any_of(_TRUTHS[endpoint.verdict] for endpoint in applicable)]
    return SubjectOutcome(
        row.subject,
        row.arm,
        standing,
        open=standing == "missing" and row.until is not None and row.until >= row.as_of,
        flags=tuple(sorted({flag for endpoint in found for flag in endpoint.flags})),
        evidence=tuple(sorted({reference for endpoint in found for reference in endpoint.evidence})),
    )


def _references(result: CriterionResult) -> Iterable[str]:
    for part in result.walk():
        for evidence in part.evidence:
            if evidence.role == "used":
                source = evidence.source
                yield f"{source.reference}/_history/{source.version}" if source.version else source.reference


def _count(arm: str, subjects: Sequence[SubjectOutcome]) -> ArmCount:
    standing = Counter(one.standing for one in subjects)
    return ArmCount(
        arm,
        randomised=len(subjects),
        evaluated=standing["met"] + standing["not_met"],
        missing=standing["missing"],
        open=sum(one.open for one in subjects),
        not_applicable=standing["not_applicable"],
    )


def _denominator(count: ArmCount, population: Population) -> int:
    return count.evaluated if population == "evaluated" else count.evaluated + count.missing


def _rate(arm: str, population: Population, met: int, of: int) -> Rate:
    if not of:
        return Rate(arm, population, met, of)
    return Rate(arm, population, met, of, _rounded(met / of), clopper_pearson(met, of))


def clopper_pearson(met: int, of: int) -> Interval:
    """The exact 95 % interval of a proportion; raises ValueError unless ``0 <= met <= of`` and ``of > 0``."""
    low, high = _limits(met, of, "exact")
    return Interval(_rounded(low), _rounded(high))


def newcombe(met: int, of: int, met_against: int, of_against: int) -> Interval:
    """The 95 % interval of ``met / of - met_against / of_against`` from Wilson's limits of both rates.

    Method 10 (no continuity correction) of Newcombe, Stat Med 1998;17:873-890. Raises as
    :func:`clopper_pearson`.
    """
    rate, rate_against = met / of, met_against / of_against
    low, high = _limits(met, of, "wilson")
    low_against, high_against = _limits(met_against, of_against, "wilson")
    difference = rate - rate_against
    down = sqrt((rate - low) ** 2 + (high_against - rate_against) ** 2)
    up = sqrt((high - rate) ** 2 + (rate_against - low_against) ** 2)
    return Interval(_rounded(difference - down), _rounded(difference + up))


def _limits(met: int, of: int, method: Literal["exact", "wilson"]) -> tuple[float, float]:
    from scipy.stats import binomtest  # slow to import, and only this line needs it

    limits = binomtest(met, of).proportion_ci(confidence_level=0.95, method=method)
    return float(limits.low), float(limits.high)


def _rounded(number: float) -> Decimal:
    return Decimal(number).quantize(_PLACES) + 0  # no negative zero
