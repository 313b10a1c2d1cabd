"""One subject counted by hand: day 0 is 2019-06-03; protein 9, peak 10, then 5.4, 4, "<0.25" g/day."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapter import pipeline, protocol
from adapter.exports.adam.build import build_adam, load_specs
from adapter.exports.dataset import Cell, day_number
from tests.spec.sdtm_case import ROOT, ZONE, enrolled, lab

P1 = "CANARY-p1"
PROTEIN = (
    ("2019-05-01", "10", ""),
    ("2019-05-28", "9", ""),
    ("2019-08-26", "5.4", ""),  # day 84, week 12
    ("2019-11-18", "4", ""),  # day 168, month 6
    ("2020-05-03", "3", ""),  # day 335 and
    ("2020-05-04", "0.25", "<"),  # day 336, week 48: nearer
)


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Cell]]]:
    findings: list[Any] = [
        lab(P1, "urine_protein_24h", value, "g/d", day, comparator=sign, specimen="urine")  # type: ignore[arg-type]
        for day, value, sign in PROTEIN
    ]
    findings += [
        lab(P1, "pla2r_antibody", "150", "{RU}/mL", "2019-05-28", original_unit="RU/mL"),
        lab(P1, "pla2r_antibody", "19.9", "{RU}/mL", "2020-05-04", original_unit="RU/mL"),
    ]
    case = enrolled(*findings)
    trial = pipeline.open_trial()
    sdtm = case.build()
    watched = protocol.monitor(trial.protocol, case.facts, as_of=date(2020, 7, 1), zone=ZONE)
    specs = load_specs(Path(ROOT) / "mappings/adam")
    built = build_adam(sdtm, [watched], protocol=trial.protocol, study=case.study, specs=specs)
    return {one.name: one.records() for one in built.datasets}


def test_protein(rows: dict[str, list[dict[str, Cell]]]) -> None:
    names = ("ADY", "AVISIT", "AVAL", "AVALC", "ABLFL", "BASE", "CHG", "PCHG", "PEAK", "PCHGPK",
             "CRIT1FL", "CRIT2FL", "ANL01FL")  # fmt: skip
    found = sorted(
        (row for row in rows["ADLB"] if row["PARAMCD"] == "UPE24"), key=lambda row: int(row["ASEQ"] or 0)
    )
    told = sorted((tuple(row[name] for name in names) for row in found), key=lambda row: int(row[0] or 0))
    nine, ten = Decimal(9), Decimal(10)
    assert told == [
        (-33, None, ten, "10", None, nine, None, None, None, None, "N", None, None),
        (-6, "Baseline", nine, "9", "Y", nine, None, None, ten, None, "N", None, "Y"),
        # 5.4: 3.6 less than 9 is 40 %, 4.6 less than 10 is 46 %
        (85, "Week 12", Decimal("5.4"), "5.4", None, nine, Decimal("-3.6"), -40, ten, -46, "N", "N", "Y"),
        # 4: 5 of 9 is 55.5556 %, 6 of 10 is 60 %
        (169, "Month 6", 4, "4", None, nine, -5, Decimal("-55.5556"), ten, -60, "N", "Y", "Y"),
        (336, "Week 48", 3, "3", None, nine, -6, Decimal("-66.6667"), ten, -70, "N", "Y", None),
        (337, "Week 48", None, "<0.25", None, nine, None, None, ten, None, "Y", "Y", "Y"),
    ]


def test_responses_and_outcomes(rows: dict[str, list[dict[str, Cell]]]) -> None:
    found = [(row["PARAMCD"], row["AVISIT"], row["AVALC"], row["ANL02FL"]) for row in rows["ADRS"]]
    assert found == [
        ("AEW48", "Week 48", "N", None),  # adverse events were never fetched: not evaluated
        ("CRW48", "Week 48", "Y", "Y"),
        ("IMRW48", "Week 48", "Y", "Y"),  # from 150 to 19.9, below 20
        ("PRKDW48", "Week 48", "N", "Y"),
        ("PRW48", "Week 48", "N", "Y"),
        ("REMSTAT", "Week 12", "NR", "Y"),
        ("REMSTAT", "Month 6", "PR", "Y"),
        ("REMSTAT", "Week 48", "CR", "Y"),
        ("REMW48", "Week 48", "Y", "Y"),
    ]


def test_times(rows: dict[str, list[dict[str, Cell]]]) -> None:
    found = {row["PARAMCD"]: (row["STARTDT"], row["AVAL"], row["CNSR"]) for row in rows["ADTTE"]}
    zero, remission = day_number(date(2019, 6, 3)), day_number(date(2019, 11, 18))
    assert found == {
        "TTREM": (zero, 169, 0),
        "TTCR": (zero, 337, 0),
        "TTRELAPS": (remission, 169, 1),  # no relapse by week 48, 168 days later
    }


def test_the_subject(rows: dict[str, list[dict[str, Cell]]]) -> None:
    (row,) = rows["ADSL"]
    assert (row["TRT01P"], row["TRT01PN"], row["AGE"], row["AGEGR1"]) == ("Tacrolimus", 1, 48, "<65")
    assert (row["ITTFL"], row["SAFFL"], row["COMPLFL"]) == ("Y", "Y", "Y")
    assert (row["UPE24BL"], row["PLA2RBL"], row["PLA2RGR1"]) == (9, 150, "POSITIVE")
