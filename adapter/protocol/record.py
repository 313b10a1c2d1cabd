"""The facts of one subject in canonical order, whatever order they came in, by what they are about."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, TypeVar

from adapter.model.coverage import Coverage, is_covered
from adapter.model.facts import Event, Facts, Finding, Intervention, Subject

Row = TypeVar("Row", Finding, Event, Intervention)


class Record:
    """Sorted once for all days and visits that are asked about; nothing here depends on either.

    ``answers`` are those to the protocol's questionnaire, by link; ``findings`` all other readings and
    ``events``, both by concept.
    """

    def __init__(self, facts: Facts, questionnaire: str) -> None:
        self.facts = facts
        self.subject: Subject = facts.subjects[0]
        self.findings: Mapping[str, list[Finding]]
        self.findings, self.answers = _apart(facts.findings, questionnaire)
        self.events: dict[str, list[Event]] = {}
        for event in in_order(facts.events, _event_order):
            self.events.setdefault(event.concept, []).append(event)
        self.interventions: tuple[Intervention, ...] = tuple(
            in_order(facts.interventions, _intervention_order)
        )
        self._coverage: dict[str, list[Coverage]] = {}
        for span in facts.coverage:
            self._coverage.setdefault(span.resource_type, []).append(span)
        self._covered: dict[tuple[str, date | None, date | None], bool] = {}
        self._merged: dict[tuple[str, ...], list[Finding]] = {}

    def covers(self, resource_type: str, start: date | None, end: date | None) -> bool:
        """Whether silence of this type says something about the period; see :func:`is_covered`."""
        asked = resource_type, start, end
        if asked not in self._covered:
            rows = self._coverage.get(resource_type, ())
            self._covered[asked] = is_covered(rows, resource_type, self.subject.id, start, end)
        return self._covered[asked]

    def readings(self, concepts: tuple[str, ...]) -> list[Finding]:
        """The readings of some concepts in one order."""
        if concepts not in self._merged:
            rows = [row for name in concepts for row in self.findings.get(name, ())]
            self._merged[concepts] = in_order(rows, finding_order) if len(concepts) > 1 else rows
        return self._merged[concepts]

    def with_findings(self, findings: Mapping[str, Iterable[Finding]]) -> Record:
        """The same record with other readings of these concepts."""
        other = copy.copy(self)
        other.findings = {
            **self.findings,
            **{name: in_order(rows, finding_order) for name, rows in findings.items()},
        }
        other._merged = {}
        return other


def _apart(
    findings: Iterable[Finding], questionnaire: str
) -> tuple[dict[str, list[Finding]], dict[str, list[Finding]]]:
    readings: dict[str, list[Finding]] = {}
    answers: dict[str, list[Finding]] = {}
    canonical = questionnaire.partition("|")[0]
    for finding in in_order(findings, finding_order):
        if finding.category != "questionnaire":
            readings.setdefault(finding.concept, []).append(finding)
        elif finding.code.system.partition("|")[0] == canonical:
            answers.setdefault(finding.code.code, []).append(finding)
    return readings, answers


def in_order(rows: Iterable[Row], order: Callable[[Row], tuple[Any, ...]]) -> list[Row]:
    """Sorted; rows that ``order`` does not tell apart by everything they say, spelled out only for these."""
    rows = list(rows)
    if len(rows) < 2:
        return rows
    keyed = sorted([(order(row), row) for row in rows], key=itemgetter(0))
    if all(one[0] != other[0] for one, other in pairwise(keyed)):
        return [row for _, row in keyed]
    found: list[Row] = []
    for _, alike in groupby(keyed, key=itemgetter(0)):
        same = [row for _, row in alike]
        found += same if len(same) == 1 else sorted(same, key=repr)
    return found


def finding_order(row: Finding) -> tuple[Any, ...]:
    when = row.when
    return (when is None, when.order if when else (), row.concept, row.source, row.method)


def _event_order(row: Event) -> tuple[Any, ...]:
    when = row.start
    return (when is None, when.order if when else (), row.source)


def _intervention_order(row: Intervention) -> tuple[Any, ...]:
    when = row.start
    return (when is None, when.order if when else (), row.source)
