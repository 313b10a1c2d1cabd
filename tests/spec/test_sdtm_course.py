"""A subject's course in SDTM: elements, visits, milestones, doses, events, biopsies, responses, links."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from adapter.errors import ConfigError
from adapter.exports.dataset import Cell
from adapter.exports.sdtm import Build, build_sdtm
from adapter.exports.sequence import SequenceLog
from adapter.model.decision import Evidence
from adapter.model.facts import Coding, Event, Facts, Finding, Source
from adapter.model.monitoring import Monitoring, VisitState
from tests.spec.sdtm_case import (
    KEY,
    SNAPSHOT,
    SPECIFICATIONS,
    Case,
    consent,
    dataset,
    drug,
    enrolled,
    enrolment,
    lab,
    of,
    on,
    person,
    study,
)

P1 = "CANARY-p1"


def event(concept: str, category: str, day: str, code: Coding = Coding(), **more: object) -> Event:  # noqa: B008
    source = Source(f"Thing/CANARY-{concept}-{category}-{day}")
    return Event(P1, concept, source, category, code=code, start=on(day), **more)  # type: ignore[arg-type]


def cells(rows: list[dict[str, Cell]], *names: str) -> list[tuple[Cell, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def treated(*more: object) -> Case:
    """Consent 20 May, doses from 3 June to 31 July, last seen 20 August.

    The administration of 3 June at 08:00 confirms the dispense of that day, which has no time.
    """
    supply = drug(P1, "tacrolimus", "dispense", "2019-06-03", "2019-07-31", "1.5", frequency="bid")
    seen = lab(P1, "albumin", "30", "g/L", "2019-08-20")
    return enrolled(supply, seen, *more)  # type: ignore[arg-type]


def test_elements_follow_each_other_without_a_gap() -> None:
    rows = treated().rows("SE")
    assert cells(rows, "TAETORD", "ETCD", "EPOCH", "SESTDTC", "SEENDTC", "SESTDY", "SEENDY") == [
        (3, "FUP", "FOLLOW-UP", "2019-08-01", "2019-08-20", 60, 79),
        (1, "SCRN", "SCREENING", "2019-05-20", "2019-06-03", -14, 1),
        (2, "TAC", "TREATMENT", "2019-06-03", "2019-08-01", 1, 60),
    ]


def test_who_was_treated_without_a_known_arm_lived_an_unplanned_element() -> None:
    case = Case(
        of(
            person(P1),
            consent(P1, "2019-05-20"),
            enrolment(P1, "2019-06-03", arm="CANARY arm"),
            drug(P1, "tacrolimus", "administration", "2019-06-03", "", "1.5"),
        )
    )
    rows = case.rows("SE")
    assert cells(rows, "ETCD", "ELEMENT", "TAETORD", "EPOCH", "SEUPDES") == [
        ("SCRN", "Screening", 1, "SCREENING", None),
        ("UNPLAN", None, None, "TREATMENT", "TREATED, ARM NOT RECORDED"),
    ]


def test_visits_are_attended_missed_or_not_yet_due() -> None:
    # study days: 1 July = 29 (WEEK 4), 20 August = 79 (WEEK 12); WEEK 8 (43..63) passed without a record
    rows = treated(lab(P1, "albumin", "28", "g/L", "2019-07-01")).rows("SV")
    assert cells(rows, "VISITNUM", "SVOCCUR", "SVSTDTC", "SVSTDY") == [
        (1, "N", None, None),
        (2, "N", None, None),
        (3, "Y", "2019-07-01", 29),
        (4, "N", None, None),
        (5, "Y", "2019-08-20", 79),
    ]


def albumins(*days: str) -> list[Finding]:
    return [lab(P1, "albumin", "28", "g/L", day, source=f"Observation/{day}") for day in days]


def test_days_in_no_window_are_unscheduled_visits_in_order_of_time() -> None:
    """Study days 8 and 15 are after BASELINE (to 1) and before WEEK 4 (from 22); two results of a day are one
    visit. Before consent (20 May) and without a known day there is no visit."""
    days = ("2019-06-17", "2019-06-10", "2019-06-10T09:00", "2019-05-02", "2019-06")
    case = treated(*albumins(*days))
    unscheduled = [row for row in case.rows("SV") if not row["SVPRESP"]]
    names = ("VISITNUM", "VISIT", "VISITDY", "SVOCCUR", "SVSTDTC", "SVSTDY", "SVUPDES")
    why = "RESULTS OUTSIDE PLANNED VISITS"
    assert cells(unscheduled, *names) == [
        (Fraction(21, 10), "UNSCHEDULED 2.1", None, None, "2019-06-10", 8, why),
        (Fraction(22, 10), "UNSCHEDULED 2.2", None, None, "2019-06-17", 15, why),
    ]
    found = {row["LBDTC"]: (row["VISITNUM"], row["VISIT"], row["VISITDY"]) for row in case.rows("LB")}
    assert found == {
        "2019-06-17": (Fraction(22, 10), "UNSCHEDULED 2.2", None),
        "2019-06-10": (Fraction(21, 10), "UNSCHEDULED 2.1", None),
        "2019-06-10T09:00": (Fraction(21, 10), "UNSCHEDULED 2.1", None),
        "2019-05-02": (None, None, None),
        "2019-06": (None, None, None),
        "2019-08-20": (5, "WEEK 12", 85),
    }


def test_more_than_nine_unscheduled_visits_have_two_decimals_and_keep_their_order() -> None:
    days = [f"2019-06-{day:02}" for day in range(10, 22)]  # study days 8 to 19, twelve of them
    rows = [row for row in treated(*albumins(*days)).rows("SV") if not row["SVPRESP"]]
    assert [row["SVSTDTC"] for row in rows] == days
    assert [str(row["VISIT"]) for row in rows][:2] == ["UNSCHEDULED 2.01", "UNSCHEDULED 2.02"]
    assert [row["VISITNUM"] for row in rows] == [2 + Fraction(place, 100) for place in range(1, 13)]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ((), None),
        ((consent(P1, "2019-08-25", "rejected"),), ("WITHDRAWAL BY SUBJECT", "2019-08-25")),
    ],
)
def test_dispositions(more: tuple[Event, ...], expected: tuple[str, str] | None) -> None:
    rows = treated(*more).rows("DS")
    milestones = [row for row in rows if row["DSCAT"] == "PROTOCOL MILESTONE"]
    assert cells(milestones, "DSDECOD", "DSSTDTC", "DSSTDY", "EPOCH") == [
        ("INFORMED CONSENT OBTAINED", "2019-05-20", -14, "SCREENING"),
        ("RANDOMIZED", "2019-06-03", 1, "TREATMENT"),
    ]
    ends = [row for row in rows if row["DSCAT"] == "DISPOSITION EVENT"]
    assert cells(ends, "DSDECOD", "DSSTDTC") == ([expected] if expected else [])


def test_leaving_the_study_without_a_reason_says_so() -> None:
    left = msgspec.structs.replace(enrolment(P1, "2019-06-03", "off-study", "TAC"), end=on("2019-09-01"))
    case = Case(of(person(P1), consent(P1, "2019-05-20"), left))
    assert cells(case.rows("DS"), "DSDECOD", "DSSTDTC")[-1] == ("REASON NOT RECORDED", "2019-09-01")
    assert case.rows("DM")[0]["RFPENDTC"] == "2019-09-01"


def test_orders_are_scheduled_and_what_was_given_is_performed() -> None:
    order = drug(P1, "tacrolimus", "order", "2019-06-03", "2019-07-31", "1", frequency="bid")
    rows = treated(order).rows("EC")
    assert sorted(cells(rows, "ECCAT", "ECMOOD", "ECOCCUR"), key=str) == [
        ("ADMINISTERED", "PERFORMED", "Y"),
        ("DISPENSED", "PERFORMED", "Y"),
        ("ORDERED", "SCHEDULED", None),
    ]


def test_an_adverse_event_leaves_under_a_known_word_or_a_public_code_or_as_uncoded() -> None:
    snomed = Coding("http://snomed.info/sct", "271825005", "CANARY 呼吸窘迫")
    rows = treated(
        event("adverse_event", "adverse-event", "2019-07-01", Coding("", "", "震颤"),
              attributes=(("seriousness", "non-serious"), ("severity", "mild"), ("outcome", "resolved"))),
        event("adverse_event", "adverse-event", "2019-07-02", snomed,
              attributes=(("seriousness", "serious"),)),
        event("adverse_event", "adverse-event", "2019-07-03", Coding("", "", "CANARY 张三摔倒")),
        event("adverse_event", "adverse-event", "2019-07-04", presence="unconfirmed"),
        event("adverse_event", "adverse-event", "2019-05-01", Coding("", "", "震颤")),
    ).rows("AE")  # fmt: skip
    assert cells(rows, "AETERM", "AESER", "AESEV", "AEOUT", "AESTDY") == [
        ("SNOMED CT 271825005", "Y", None, None, 30),
        ("TREMOR", "N", "MILD", "RECOVERED/RESOLVED", 29),
        ("UNCODED ADVERSE EVENT", None, None, None, 31),
    ]


def test_a_biopsy_and_what_was_seen_in_it_are_related() -> None:
    case = treated(
        event("kidney_biopsy", "procedure", "2019-05-21T10:00:00+08:00"),
        event("membranous_nephropathy", "report", "2019-05-21"),
        lab(P1, "interstitial_fibrosis_percent", "10", "%", "2019-05-21", category="pathology"),
    )
    assert cells(case.rows("PR"), "PRTRT", "PRDECOD", "PRLOC") == [("KIDNEY BIOPSY", "BIOPSY", "KIDNEY")]
    assert cells(case.rows("MI"), "MITESTCD", "MISTRESC", "MISTRESN", "MILOBXFL") == [
        ("DIAGNOS", "MEMBRANOUS NEPHROPATHY", None, "Y"),
        ("INTSFBRO", "10", 10, "Y"),
    ]
    related = [row for row in case.rows("RELREC") if row["RELID"] == "PR1"]
    assert sorted(cells(related, "RDOMAIN", "IDVARVAL")) == [("MI", "1"), ("MI", "2"), ("PR", "1")]


def build(facts: Facts, log: SequenceLog | None = None, states: tuple[VisitState, ...] = ()) -> Build:
    return build_sdtm(
        facts,
        (),
        study=study(),
        specs=SPECIFICATIONS,
        key=KEY,
        snapshot_time=SNAPSHOT,
        followed=(Monitoring(P1, "NCT03864250", "1", date(2020, 7, 1), visits=states),),
        sequences=log or SequenceLog(),
    )


def test_a_response_rests_on_readings_and_an_unknown_one_is_no_row() -> None:
    protein = lab(P1, "urine_protein_24h", "0.2", "g/d", "2019-07-01", original="0.2", original_unit="g/d")
    used = Evidence(protein.source, "used", protein.concept, "2019-07-01")
    days = (date(2019, 7, 1), date(2019, 6, 24), date(2019, 7, 8))
    states = (
        VisitState("W4", "Week 4", *days, "complete", evidence=(used,)),
        VisitState("W8", "Week 8", *days, "unknown"),
    )
    made = build(treated(protein).facts, states=states)
    rows = dataset(made, "RS").records()
    assert cells(rows, "RSSTRESC", "RSORRES", "RSDRVFL", "VISIT", "RSDY", "EPOCH") == [
        ("CR", "", "Y", "WEEK 4", 29, "TREATMENT")
    ]
    number = next(row["LBSEQ"] for row in dataset(made, "LB").records() if row["LBTESTCD"] == "PROTEXR")
    links = [row for row in dataset(made, "RELREC").records() if row["RELID"] == "RS1"]
    assert sorted(cells(links, "RDOMAIN", "IDVARVAL")) == [("LB", str(number)), ("RS", "1")]


def test_a_trough_has_the_time_since_the_dose_before_it() -> None:
    level = lab(P1, "tacrolimus_trough", "6.5", "ng/mL", "2019-06-03T19:45:00+08:00")
    made = build(treated(level).facts)
    assert dataset(made, "PC").records()[0]["PCRFTDTC"] == "2019-06-03T08:00:00"
    since = [row for row in dataset(made, "SUPPPC").records() if row["QNAM"] == "SINCDOSE"]
    assert cells(since, "QVAL", "IDVARVAL") == [("PT11H45M", "1")]


def albumin(made: Build) -> dict[str, Cell]:
    return {str(row["LBDTC"]): row["LBSEQ"] for row in dataset(made, "LB").records()}


def test_a_record_keeps_its_number_when_others_come_go_or_are_corrected(tmp_path: Path) -> None:
    def reading(day: str, value: str = "30") -> object:
        return lab(P1, "albumin", value, "g/L", day, source=f"Observation/{day}")

    first = build(enrolled(reading("2019-07-01"), reading("2019-07-15"), reading("2019-08-01")).facts)  # type: ignore[arg-type]
    assert albumin(first) == {"2019-07-01": 1, "2019-07-15": 2, "2019-08-01": 3}
    log = tmp_path / "sequence-log.json"
    first.sequences.save(log)
    assert "Observation" not in log.read_text()

    # one is gone, one is corrected, one came late and is older than all
    later = enrolled(reading("2019-06-20"), reading("2019-07-15", "31"), reading("2019-08-01"))  # type: ignore[arg-type]
    second = build(later.facts, SequenceLog.load(log))
    assert albumin(second) == {"2019-06-20": 4, "2019-07-15": 2, "2019-08-01": 3}

    # the one that was gone comes back under its old number; without the log it would be another
    third = build(
        enrolled(reading("2019-06-20"), reading("2019-07-01")).facts,  # type: ignore[arg-type]
        second.sequences,
    )
    assert albumin(third) == {"2019-06-20": 4, "2019-07-01": 1}
    assert albumin(build(later.facts)) == {"2019-06-20": 1, "2019-07-15": 2, "2019-08-01": 3}


def test_the_same_log_gives_the_same_rows_again() -> None:
    first = build(treated().facts)
    again = build(treated().facts, first.sequences)
    assert [one.rows for one in again.datasets] == [one.rows for one in first.datasets]
    assert again.sequences == first.sequences


@pytest.mark.parametrize("text", ["[", '{"LB": {"S": {"a": 1, "b": 1}}}', '{"LB": {"S": {"a": 0}}}'])
def test_a_damaged_log_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sequence-log.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="sequence number"):
        SequenceLog.load(path)
