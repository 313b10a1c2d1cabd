"""Doses, gaps, drug levels and responses of somebody on the study, as tables worked out by hand.

Day 0 is 2019-06-03, so day 14 is 2019-06-17. Levels, doses and visits through FHIR: ``cases.yaml``.
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import msgspec
import pytest

from adapter.model.coverage import Coverage
from adapter.model.decision import CriterionResult
from adapter.model.facts import Intervention
from adapter.model.monitoring import Monitoring
from adapter.protocol import monitor
from adapter.protocol.occurrences import MEDICATION_TYPES
from tests.spec.protocol_words import P0, ZONE, Row, changed, facts, had, lab, protocol, took, when

ON_STUDY = had(
    "research_subject",
    "2019-06-03",
    attributes=(("study_identifier", "NCT03864250"), ("assigned_arm", "TAC")),
)
COVERED = tuple(Coverage(name, True) for name in MEDICATION_TYPES)
SILENT: tuple[Coverage, ...] = ()
LEFT = msgspec.structs.replace(ON_STUDY, end=when("2019-08-01"), presence="past")


def watched(*rows: Row, as_of: str = "2020-06-01", enrolled: Row = ON_STUDY) -> Monitoring:
    everything = facts(*changed(P0), enrolled, *rows)
    return monitor(protocol(), everything, as_of=date.fromisoformat(as_of), zone=ZONE)


def one(found: Monitoring, name: str) -> CriterionResult:
    groups = (found.endpoints, found.exits, found.doses, found.safety, found.deviations)
    return next(result for group in groups for result in group if result.id == name)


def told(found: Monitoring, name: str) -> str:
    result = one(found, name)
    return f"{result.verdict.value} {' '.join(result.flags)}".strip()


def taken(start: str, last: str = "", **more: object) -> Intervention:
    return took("tacrolimus", start, last, **more)


@pytest.mark.parametrize(
    ("rows", "coverage", "as_of", "expected"),
    [
        # without the drug 2019-07-01 to 2019-07-14 (14 days) and to 2019-07-15 (15 days)
        ([taken("2019-06-03", "2019-06-30"), taken("2019-07-15")], COVERED, "2019-09-01", "not_met BOUNDARY"),
        ([taken("2019-06-03", "2019-06-30"), taken("2019-07-16")], COVERED, "2019-09-01", "met"),
        # the same, if not all records of medication were fetched
        ([taken("2019-06-03", "2019-06-30"), taken("2019-07-16")], SILENT, "2019-09-01", "unknown"),
        ([taken("2019-06-03", "2019-06-30"), taken("2019-07-10")], SILENT, "2019-09-01", "not_met"),
        # the drug may have gone on, nobody knows when it ended
        (
            [taken("2019-06-03", "", ongoing=False, flags=("END_UNKNOWN",)), taken("2019-08-01")],
            COVERED,
            "2019-09-01",
            "unknown",
        ),
        # nothing since, 14 and 15 days ago
        ([taken("2019-06-03", "2019-06-30")], COVERED, "2019-07-14", "not_met BOUNDARY"),
        ([taken("2019-06-03", "2019-06-30")], COVERED, "2019-07-15", "met"),
        # begun late
        ([taken("2019-06-18")], COVERED, "2019-07-15", "met"),
        # two overlapping supplies leave no gap
        (
            [taken("2019-06-03", "2019-07-20"), taken("2019-06-10", "2019-06-12")],
            COVERED,
            "2019-07-30",
            "not_met",
        ),
        # the end known to the month only: 1 to 31 July
        ([taken("2019-06-03", "2019-07"), taken("2019-07-20")], COVERED, "2019-09-01", "unknown"),
        # the dose of a single day ends one gap and begins the next: 7 days before it, 7 after
        (
            [taken("2019-06-03", "2019-06-30"), taken("2019-07-08", "2019-07-08"), taken("2019-07-16")],
            COVERED,
            "2019-09-01",
            "not_met",
        ),
        # no record at all says nothing
        ([], COVERED, "2019-09-01", "unknown"),
        # week 48 is the planned end: day 336 is 2020-05-04
        ([taken("2019-06-03", "2020-05-04")], COVERED, "2020-08-01", "not_met"),
        ([taken("2019-06-03", "2020-04-19")], COVERED, "2020-08-01", "met"),
    ],
)
def test_gaps(rows: list[Row], coverage: tuple[Coverage, ...], as_of: str, expected: str) -> None:
    found = told(watched(*rows, *coverage, as_of=as_of), "GAP")
    assert found.replace(" GAP_FROM_SUPPLY", "") == expected


def test_a_gap_after_somebody_left_is_none() -> None:
    rows = (taken("2019-06-03", "2019-08-01"), *COVERED)
    assert told(watched(*rows, enrolled=LEFT), "GAP").startswith("not_met")
    assert told(watched(*rows), "GAP").startswith("met")


def test_nothing_becomes_due_after_somebody_left() -> None:
    assert [due.id for due in watched(enrolled=LEFT).due] == ["W4", "W8"]
    assert "W48" in [due.id for due in watched().due]


def ordered(start: str, last: str, daily: str, **more: object) -> Intervention:
    return took(
        "tacrolimus",
        start,
        last,
        **{"kind": "order", "dose_unit": "mg", "daily_dose": Fraction(daily), **more},
    )


WEIGHT = lab("weight", "62", "2019-05-31", unit="kg")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # 6.2 mg/d of 62 kg is 0.10 mg/kg/d
        ([ordered("2019-06-03", "2020-05-04", "6.2")], "met BOUNDARY"),
        ([ordered("2019-06-03", "2020-05-04", "6.3")], "not_met"),
        # filled orders say the dose, what filled them only the days
        ([ordered("2019-06-03", "2020-05-04", "6.3", excluded="FILLED"), taken("2019-06-03")], "not_met"),
        ([ordered("2019-06-03", "2020-05-04", "6.3", excluded="CANCELLED")], "unknown"),
        # a morning and an evening dose of one day add up
        (
            [
                ordered("2019-06-03", "2020-05-04", "3.1"),
                ordered("2019-06-03", "2020-05-04", "3.2", source=taken("2019-06-03").source),
            ],
            "not_met",
        ),
        # the one begun last supersedes; when it ends the older one goes on
        (
            [
                ordered("2019-06-03", "2020-05-04", "6.4"),
                ordered("2019-06-03", "2019-06-03", "0.1", kind="statement"),
            ],
            "not_met",
        ),
        ([ordered("2019-06-03", "2020-05-04", "4"), ordered("2019-08-01", "2019-08-07", "7")], "not_met"),
        # 6200 ug are 6.2 mg; tablets are no mass
        ([ordered("2019-06-03", "2020-05-04", "6200", dose_unit="ug")], "met BOUNDARY"),
        ([ordered("2019-06-03", "2020-05-04", "6", dose_unit="{tbl}")], "unknown"),
    ],
)
def test_the_highest_dose_per_kg(rows: list[Row], expected: str) -> None:
    assert told(watched(WEIGHT, *rows), "A5") == expected


def test_no_weight_no_dose_per_kg() -> None:
    rows = [ordered("2019-06-03", "2020-05-04", "6.3")]
    assert told(watched(*rows), "A5") == "unknown"
    assert told(watched(*rows), "A7") == "met"


def test_nobody_is_monitored_before_entry() -> None:
    found = watched(as_of="2019-06-02")
    assert found.randomised is None
    assert (found.endpoints, found.exits, found.due, found.visits) == ((), (), (), ())
    assert watched(as_of="2019-06-03").randomised == date(2019, 6, 3)


def test_times_to_remission_and_relapse() -> None:
    """Peak 9: 3.0 is 66.7 % below it; 0.2 is complete; 5.0 is nephrotic again, 44.4 % below."""
    found = watched(
        lab("urine_protein_24h", "3", "2019-08-26"),  # day 84
        lab("urine_protein_24h", "0.2", "2019-11-18"),  # day 168
        lab("urine_protein_24h", "5", "2020-02-12"),  # day 254
    )
    assert dict(found.days_to) == {"remission": 84, "complete_remission": 168, "relapse": 254}
    assert {one.visit: one.response for one in found.visits} == {
        "W4": "unknown",
        "W8": "unknown",
        "W12": "partial",
        "M6": "complete",
        "W36": "relapse",
        "W48": "unknown",
    }


def test_two_arms_on_record_are_a_conflict() -> None:
    other = msgspec.structs.replace(
        ON_STUDY,
        source=msgspec.structs.replace(ON_STUDY.source, reference="ResearchSubject/2"),
        attributes=(("study_identifier", "NCT03864250"), ("assigned_arm", "TACPRED")),
    )
    assert watched().arm == "TAC"
    assert watched(other).arm == ""
    assert told(watched(other), "P4") == "unknown CONFLICT"
