"""The charts that a population copies: of the synthetic hospital, with the ids taken out.

A chart is kept as the bytes between the mentions of its id, so that a copy is one ``join``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import msgspec

from adapter import pipeline
from adapter.demo import hospital
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model.candidates import CandidateQuery
from adapter.source import nominate
from adapter.source.ndjson import Block

HOSPITAL_SEED = 20190603
CHARTS = 330
"""How many different people without the disease are copied."""
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Chart(NamedTuple):
    """One person to copy: by resource type how many lines, and the bytes between the mentions of their id."""

    lines: dict[str, int]
    between: dict[str, tuple[bytes, ...]]
    overall: str

    def of(self, person: bytes) -> Iterator[tuple[str, bytes]]:
        return ((kind, person.join(pieces)) for kind, pieces in self.between.items())


@cache
def charts() -> tuple[tuple[Chart, ...], tuple[Chart, ...]]:
    """(the cases to screen, people whom the protocol's query nominates in no way), ids taken out.

    Cases with two records, with lines that are not JSON, or that spell their id in another way are left to
    the tests: here every contestant shall find the same rows.
    """
    cases, others = [], []
    for chart, truth in hospital.everyone(HOSPITAL_SEED, CHARTS + hospital.PLANTED):
        rows = [*chart.rows, *chart.late]
        if truth is None:
            if not _nominates(rows):
                others.append(_chart(chart.id, rows, ""))
        elif not (truth["enrolled"] or chart.raw or chart.escaped) and all(
            _is_plain(row, chart.id) for row in rows
        ):
            cases.append(_chart(chart.id, rows, truth["overall"]))
    return tuple(case for case in cases if case.overall != "no_candidate"), tuple(others)


def _is_plain(row: dict[str, object], patient: str) -> bool:
    if row["resourceType"] == "Patient":
        return row["id"] == patient
    subject = row.get("subject", row.get("patient", row.get("individual")))
    return isinstance(subject, dict) and subject.get("reference") == f"Patient/{patient}"


def _nominates(rows: list[dict[str, object]]) -> bool:
    block = Block(b"\n".join(map(_ENCODER.encode, rows)), 1)
    return bool(nominate.candidate_ids(lambda _types: [("chart", block)], _query()).ids)


@cache
def _query() -> CandidateQuery:
    trial = pipeline.open_trial()
    return candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)


def _chart(patient: str, rows: list[dict[str, object]], overall: str) -> Chart:
    lines: Counter[str] = Counter()
    text: defaultdict[str, list[bytes]] = defaultdict(list)
    for row in rows:
        kind = str(row["resourceType"])
        lines[kind] += 1
        text[kind].append(_ENCODER.encode(row) + b"\n")
    return Chart(
        dict(lines),
        {kind: tuple(b"".join(some).split(patient.encode())) for kind, some in text.items()},
        overall,
    )


def shortened(chart: Chart, most: int) -> Chart:
    """The chart's first lines, its Patient first and then in equal shares of its types."""
    if not most or sum(chart.lines.values()) <= most:
        return chart
    left = most
    lines, between = {}, {}
    share = most / sum(chart.lines.values())
    for kind in sorted(chart.lines, key=lambda name: (name != "Patient", chart.lines[name])):
        take = min(left, max(1, round(chart.lines[kind] * share)))
        if take:
            whole = b"\x00".join(chart.between[kind]).splitlines(keepends=True)[:take]
            lines[kind], between[kind] = take, tuple(b"".join(whole).split(b"\x00"))
            left -= take
    return Chart(lines, between, chart.overall)
