"""Faults put into datasets that conform, one at a time, and what the gate says of each.

The first 21 are of the kind with which CDISC CORE was measured (it found 17 of them); the rest are those
that only we can make. What a fault must be called is written here, by hand, from SDTMIG 3.4.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import pytest

from adapter.errors import ExportError, MappingError
from adapter.exports.conformance import RULES
from adapter.exports.dataset import Cell, Column, Dataset
from adapter.exports.sdtm import build_sdtm
from adapter.exports.waivers import Gate, gate, load_waivers, stop_at
from adapter.model.decision import Evidence, Verdict
from adapter.model.facts import Coding, Event, Source
from adapter.model.monitoring import Monitoring, VisitState
from tests.spec.sdtm_case import (
    KEY,
    SNAPSHOT,
    SPECIFICATIONS,
    SPECS,
    Case,
    consent,
    decision,
    drug,
    enrolment,
    lab,
    of,
    on,
    person,
    study,
)

Package = dict[str, Dataset]
Fault = Callable[[Package], None]


def conforming() -> Package:
    """One man through the whole study, and a screen failure, in every dataset."""
    one, two = "CANARY-p1", "CANARY-p2"
    protein = lab(one, "urine_protein_24h", "4", "g/d", "2019-07-01", original="4", original_unit="g/d")
    rows = [
        person(one),
        person(two, "1975-01-31", sex="female", merged=("CANARY-p2-old",)),
        consent(one, "2019-05-20"),
        consent(two, "2019-05-22"),
        enrolment(one, "2019-06-03", "on-study-intervention", "TAC"),
        drug(one, "tacrolimus", "administration", "2019-06-03T08:00:00+08:00", "", "1.5"),
        drug(one, "tacrolimus", "dispense", "2019-06-03", "2019-12-31", "1.5", frequency="bid", route="oral"),
        lab(one, "albumin", "25", "g/L", "2019-05-28T08:00:00+08:00", original="2.5", original_unit="g/dL"),
        lab(one, "albumin", "24", "g/L", "2019-05-21T08:00:00+08:00", original="2.4", original_unit="g/dL"),
        lab(one, "albumin", "20", "g/L", "2019-07-01", comparator="<", original="<20"),
        lab(one, "creatinine", None, "", "2019-07-01", excluded="NO_VALUE"),
        lab(two, "albumin", "30", "g/L", "2019-05-22"),
        lab(one, "pla2r_antibody", "150", "{RU}/mL", "2019-05-28", original_unit="RU/mL"),
        lab(one, "tacrolimus_trough", "6.5", "ng/mL", "2019-06-04T07:45:00+08:00"),
        lab(one, "systolic_bp", "128", "mm[Hg]", "2019-05-28", category="vital-signs"),
        lab(one, "interstitial_fibrosis_percent", "10", "%", "2019-05-21", category="pathology"),
        protein,
        _event(one, "kidney_biopsy", "procedure", "2019-05-21"),
        _event(one, "adverse_event", "adverse-event", "2019-07-02", display="震颤"),
        drug(one, "valsartan", "statement", "2019-06", "", "80", ongoing=True, frequency="qd"),
    ]
    used = Evidence(protein.source, "used", protein.concept, "2019-07-01")
    days = (date(2019, 7, 1), date(2019, 6, 24), date(2019, 7, 8))
    state = VisitState("W4", "Week 4", *days, "partial", evidence=(used,))
    built = build_sdtm(
        of(*rows),
        (decision(two, "2019-05-22", EXCL06=("exclusion", Verdict.MET)),),
        study=study(),
        specs=SPECIFICATIONS,
        key=KEY,
        snapshot_time=SNAPSHOT,
        followed=(Monitoring(one, "NCT03864250", "1", date(2020, 7, 1), visits=(state,)),),
    )
    return {dataset.name: dataset for dataset in built.datasets}


def _event(subject: str, concept: str, category: str, day: str, display: str = "") -> Event:
    source = Source(f"Thing/CANARY-{subject}-{concept}")
    return Event(subject, concept, source, category, code=Coding("", "", display), start=on(day), end=on(day))


PACKAGE = conforming()
WAIVERS = load_waivers(SPECS / "waivers.yaml", SPECIFICATIONS)


def judged(package: Package) -> Gate:
    return gate(list(package.values()), SPECIFICATIONS, WAIVERS)


def rows_of(name: str, **wanted: Cell) -> list[int]:
    records = PACKAGE[name].records()
    found = [
        index
        for index, row in enumerate(records)
        if all(row[variable] == value for variable, value in wanted.items())
    ]
    assert found, f"no such row in {name}"
    return found


def put(name: str, variable: str, value: Cell, **wanted: Cell) -> Fault:
    """Set one cell of the first row that fits."""

    def fault(package: Package) -> None:
        dataset = package[name]
        names = [one.name for one in dataset.columns]
        rows = [list(row) for row in dataset.rows]
        rows[rows_of(name, **wanted)[0]][names.index(variable)] = value
        package[name] = msgspec.structs.replace(dataset, rows=tuple(tuple(row) for row in rows))

    return fault


def column(name: str, variable: str, **changes: object) -> Fault:
    def fault(package: Package) -> None:
        columns = tuple(
            msgspec.structs.replace(one, **changes) if one.name == variable else one
            for one in package[name].columns
        )
        package[name] = msgspec.structs.replace(package[name], columns=columns)

    return fault


def without(name: str, **wanted: Cell) -> Fault:
    def fault(package: Package) -> None:
        gone = rows_of(name, **wanted)
        kept = tuple(row for index, row in enumerate(package[name].rows) if index not in gone)
        package[name] = msgspec.structs.replace(package[name], rows=kept)

    return fault


def twice(name: str) -> Fault:
    def fault(package: Package) -> None:
        rows = package[name].rows
        package[name] = msgspec.structs.replace(package[name], rows=(*rows, rows[0]))

    return fault


def dropped(name: str, variable: str) -> Fault:
    def fault(package: Package) -> None:
        dataset = package[name]
        index = [one.name for one in dataset.columns].index(variable)
        package[name] = msgspec.structs.replace(
            dataset,
            columns=(*dataset.columns[:index], *dataset.columns[index + 1 :]),
            rows=tuple((*row[:index], *row[index + 1 :]) for row in dataset.rows),
        )

    return fault


def added(name: str) -> Fault:
    def fault(package: Package) -> None:
        dataset = package[name]
        package[name] = msgspec.structs.replace(
            dataset,
            columns=(*dataset.columns, Column("LBEXTRA", "Extra", "text", 8)),
            rows=tuple((*row, "x") for row in dataset.rows),
        )

    return fault


ONE = "NCT03864250-SITE01-001-001"
FIRST = {"USUBJID": ONE}
LATE = {"LBTESTCD": "ALB", "LBDTC": "2019-07-01"}
BETWEEN = {"VISIT": "UNSCHEDULED 2.1"}  # the trough of 4 June, day 2
FAULTS: dict[str, tuple[Fault, str, str]] = {
    # the faults that CORE was measured with
    "sex is MALE": (put("DM", "SEX", "MALE"), "TERM_UNKNOWN", "DM.SEX"),
    "a summary parameter nobody knows": (put("TS", "TSPARMCD", "NOSUCH"), "TERM_EXTENDED", "TS.TSPARMCD"),
    "a dose in an unknown unit": (put("EX", "EXDOSU", "MGS"), "TERM_EXTENDED", "EX.EXDOSU"),
    "a wrong label": (column("LB", "LBORRES", label="Original Result"), "COLUMNS", "LB.LBORRES"),
    "a number twice": (put("LB", "LBSEQ", 1, LBSEQ=2), "NUMBER_TWICE", "LB.LBSEQ"),
    "two flags for one test": (
        put("LB", "LBLOBXFL", "Y", LBDTC="2019-05-21T08:00:00"),
        "LAST_BEFORE_EXPOSURE",
        "LB.LBLOBXFL",
    ),
    "text where a number belongs": (put("LB", "LBSTRESN", "25"), "CELL_TYPE", "LB.LBSTRESN"),
    "a subject that is not in DM": (
        put("LB", "USUBJID", "NCT03864250-SITE01-999"),
        "SUBJECT_UNKNOWN",
        "LB.USUBJID",
    ),
    "no subject": (put("VS", "USUBJID", ""), "REQUIRED_EMPTY", "VS.USUBJID"),
    "another study": (put("VS", "STUDYID", "NCT00000000"), "STUDY_VALUE", "VS.STUDYID"),
    "the wrong domain": (put("LB", "DOMAIN", "VS"), "DOMAIN_VALUE", "LB.DOMAIN"),
    "month 13": (put("LB", "LBDTC", "2020-13-45"), "NOT_ISO_8601", "LB.LBDTC"),
    "an end before its start": (put("EX", "EXENDTC", "2018-01-01"), "END_BEFORE_START", "EX.EXENDTC"),
    "a wrong study day": (put("LB", "LBDY", 400, **LATE), "STUDY_DAY", "LB.LBDY"),
    "a day 0": (put("VS", "VSDY", 0), "STUDY_DAY", "VS.VSDY"),
    "a visit nobody planned": (put("LB", "VISITNUM", 99, **LATE), "VISIT_UNPLANNED", "LB.VISITNUM"),
    "an unscheduled visit of another name": (
        put("PC", "VISIT", "UNSCHEDULED 2", **BETWEEN),
        "VISIT_UNPLANNED",
        "PC.VISIT",
    ),
    "an unscheduled visit with a planned day": (
        put("PC", "VISITDY", 29, **BETWEEN),
        "VISIT_UNPLANNED",
        "PC.VISITDY",
    ),
    "an unscheduled visit that SV does not have": (
        without("SV", **BETWEEN),
        "VISIT_NOT_ATTENDED",
        "PC.VISITNUM",
    ),
    "an unscheduled visit that was planned": (
        put("SV", "SVPRESP", "Y", **BETWEEN),
        "VISIT_UNPLANNED",
        "SV.SVPRESP",
    ),
    "a visit that was not attended": (
        without("SV", **FIRST, VISITNUM=3),
        "VISIT_NOT_ATTENDED",
        "LB.VISITNUM",
    ),
    "an epoch that is not in TA": (put("LB", "EPOCH", "WASHOUT", **LATE), "EPOCH_UNKNOWN", "LB.EPOCH"),
    "an arm that is not in TA": (put("DM", "ARMCD", "PLACEBO", **FIRST), "ARM_UNPLANNED", "DM.ARMCD"),
    "a result of a test not done": (
        put("LB", "LBORRES", "5", LBSTAT="NOT DONE"),
        "TEST_NOT_DONE",
        "LB.LBSTAT",
    ),
    "a number that is not its text": (
        put("LB", "LBSTRESN", 26, LBSTRESC="25"),
        "RESULT_NUMBER",
        "LB.LBSTRESN",
    ),
    # and more
    "a subject number of somebody else": (put("DM", "SUBJID", "001-009"), "SUBJECT_UNKNOWN", "DM.SUBJID"),
    "a comparator lost": (put("LB", "LBSTRESN", 20, LBSTRESC="<20"), "RESULT_NUMBER", "LB.LBSTRESN"),
    "a unit lost": (put("LB", "LBSTRESU", "", LBSTRESC="25"), "RESULT_UNIT", "LB.LBSTRESU"),
    "a code with another name": (
        put("LB", "LBTEST", "Creatinine", LBTESTCD="ALB"),
        "TERM_PAIR",
        "LB.LBTESTCD",
    ),
    "a label of 41 characters": (column("LB", "LBORRES", label="x" * 41), "LABEL_LENGTH", "LB.LBORRES"),
    "text beyond its length": (put("DM", "SUBJID", "0" * 30), "TEXT_LENGTH", "DM.SUBJID"),
    "text that is not ASCII": (put("LB", "LBNAM", "检验科"), "NOT_ASCII", "LB.LBNAM"),
    "30 February": (put("LB", "LBDTC", "2019-02-30"), "NOT_ISO_8601", "LB.LBDTC"),
    "a variable that is gone": (dropped("LB", "LBDY"), "COLUMNS", "LB.LBDY"),
    "a variable too many": (added("LB"), "COLUMNS", "LB."),
    "a dataset that is gone": (lambda package: package.pop("SV") and None, "NO_SPECIFICATION", "SV."),
    "a row twice": (twice("DM"), "KEY_TWICE", "DM.USUBJID"),
    "a qualifier of no record": (put("SUPPLB", "IDVARVAL", "999"), "QUALIFIER_DANGLING", "SUPPLB.IDVARVAL"),
    "a relation to no record": (put("RELREC", "IDVARVAL", "999"), "RELATION_DANGLING", "RELREC.IDVARVAL"),
    "a relation of one": (without("RELREC", RDOMAIN="RS"), "RELATION_DANGLING", "RELREC.IDVARVAL"),
    "an element that is not in TE": (put("SE", "ETCD", "RUNIN"), "ELEMENT_UNKNOWN", "SE.ETCD"),
    "an element out of its place": (put("SE", "TAETORD", 3, ETCD="SCRN"), "ELEMENT_UNKNOWN", "SE.TAETORD"),
    "a gap between elements": (
        put("SE", "SEENDTC", "2019-05-25", ETCD="SCRN"),
        "ELEMENTS_OVERLAP",
        "SE.SEENDTC",
    ),
    "a criterion that was met": (put("IE", "IEORRES", "N"), "CRITERION_UNKNOWN", "IE.IEORRES"),
    "a criterion that TI does not have": (
        put("TI", "IETESTCD", "EXCL99", IETESTCD="EXCL06"),
        "CRITERION_UNKNOWN",
        "IE.IETESTCD",
    ),
    "another first dose": (put("DM", "RFXSTDTC", "2019-06-01", **FIRST), "EXPOSURE_DATES", "DM.RFXSTDTC"),
    "dead without a word in DS": (put("DM", "DTHFL", "Y", **FIRST), "DEATH", "DM.DTHFL"),
    "an adverse event after the end": (
        put("AE", "AESTDTC", "2021-01-01"),
        "AFTER_PARTICIPATION",
        "AE.AESTDTC",
    ),
    "a flag after the first dose": (
        put("LB", "LBLOBXFL", "Y", **LATE),
        "LAST_BEFORE_EXPOSURE",
        "LB.LBLOBXFL",
    ),
}


def test_every_rule_has_a_fault() -> None:
    assert {rule for _, rule, _ in FAULTS.values()} == set(RULES)


def test_a_package_without_a_fault_passes() -> None:
    found = judged(PACKAGE)
    assert [one for one in found.problems if one.rule != "TERM_EXTENDED"] == []
    assert [(one.rule, f"{one.dataset}.{one.variable}") for one, _ in found.waived] == [
        ("REQUIRED_EMPTY", "AE.AEDECOD")
    ]
    stop_at(found)
    empty = {name for name, dataset in PACKAGE.items() if not dataset.rows}
    assert empty <= {"MH", "TI", "SUPPVS"}


@pytest.mark.parametrize("name", FAULTS)
def test_the_gate_catches(name: str) -> None:
    fault, rule, place = FAULTS[name]
    package = dict(PACKAGE)
    fault(package)
    before = {(one.rule, one.dataset, one.variable, one.count) for one in judged(PACKAGE).problems}
    new = [
        one
        for one in judged(package).problems
        if (one.rule, one.dataset, one.variable, one.count) not in before
    ]
    assert rule in {one.rule for one in new if not place or f"{one.dataset}.{one.variable}" == place}
    if any(one.severity == "error" for one in new):
        with pytest.raises(ExportError, match="do not conform"):
            stop_at(judged(package))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{rule: NO_SUCH, dataset: LB, variable: LBDY, reason: because it was agreed}", "no rule NO_SUCH"),
        ("{rule: STUDY_DAY, dataset: ZZ, reason: because it was agreed with us}", "no variable ZZ"),
        ("{rule: STUDY_DAY, dataset: LB, variable: LBX, reason: because it was said}", "no variable LB.LBX"),
        ("{rule: STUDY_DAY, dataset: LB, variable: LBDY, reason: ok}", "has no reason"),
        ("{rule: STUDY_DAY, dataset: LB, variable: LBDY}", "reason"),
        ("{rule: STUDY_DAY, dataset: LB, variable: LBDY, why: x}", "unknown field"),
    ],
)
def test_a_waiver_needs_a_rule_a_place_and_a_reason(entry: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "waivers.yaml"
    path.write_text(f"waivers:\n  - {entry}\n", encoding="utf-8")
    with pytest.raises(MappingError, match=message) as caught:
        load_waivers(path, SPECIFICATIONS)
    assert str(path) in caught.value.where


def test_a_waiver_lets_one_finding_pass_and_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "waivers.yaml"
    reason = "the laboratory was asked and confirmed it"
    path.write_text(
        "waivers:\n"
        f"  - {{rule: STUDY_DAY, dataset: LB, variable: LBDY, reason: {reason}}}\n"
        f"  - {{rule: DEATH, dataset: DM, variable: DTHFL, reason: {reason}}}\n",
        encoding="utf-8",
    )
    package = dict(PACKAGE)
    put("LB", "LBDY", 400, **LATE)(package)
    put("VS", "VSDY", 0)(package)
    found = gate(list(package.values()), SPECIFICATIONS, (*WAIVERS, *load_waivers(path, SPECIFICATIONS)))
    assert [(one.rule, one.dataset) for one in found.errors] == [("STUDY_DAY", "VS")]
    assert reason in [why for _, why in found.waived]
    assert [one.rule for one in found.unused] == ["DEATH"]


def test_a_fault_in_the_data_stops_nothing_and_is_counted() -> None:
    """An end before its start is how the hospital wrote it: shown, not refused."""
    case = Case(
        of(
            person("CANARY-p1"),
            consent("CANARY-p1", "2019-05-20"),
            drug("CANARY-p1", "valsartan", "statement", "2019-06-03", "2019-05-01", "80", frequency="qd"),
        )
    )
    found = gate(case.build().datasets, SPECIFICATIONS, WAIVERS)
    assert [one.rule for one in found.problems if one.dataset == "CM"] == ["END_BEFORE_START"]
    assert found.errors == ()
    assert found.as_checks()["warnings"][0]["count"] == 1
