"""Analysis datasets of the synthetic hospital equal its monitoring; rules of ADaMIG hold, and catch faults.

The other half, with numbers counted by hand for one subject, is ``test_adam_by_hand.py``.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from adapter import monitoring, pipeline
from adapter.demo import hospital
from adapter.errors import ExportError, MappingError
from adapter.exports.adam.build import AdamBuild, build_adam, load_specs
from adapter.exports.adam.conformance import RULES, Remark, adam_gate, check_adam
from adapter.exports.adam.package import write_adam
from adapter.exports.adam.rules import ADAM_RULES
from adapter.exports.dataset import Cell, Dataset, day_text
from adapter.exports.package import ExportReport
from adapter.exports.sdtm import Build, build_sdtm
from adapter.exports.spec import load_specs as load_sdtm
from adapter.exports.study import Arm, StudyConfig, load_study
from adapter.monitoring import MonitoringReport
from adapter.pipeline import Trial, Workspace
from tests.spec.sdtm_case import KEY

AS_OF = date(2019, 6, 3)
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "mappings/adam"
GUIDE = ROOT.parent / "shared/data/cdisc/ig/adamig-1.3-variables.json"
ENDPOINTS = {
    "O1": "CRW48", "O2": "PRW48", "OR": "REMW48", "PR_KDIGO": "PRKDW48", "O3": "IMRW48", "O4": "AEW48",
}  # fmt: skip
OWN = {"UPE24BL", "ALBBL", "CREATBL", "EGFRBL", "PLA2RBL", "PLA2RGR1", "PEAK", "PCHGPK", "NRIREAS"}
FROM_SDTM = {"COUNTRY", "DTHFL", "AVALU"}
Rows = list[dict[str, Cell]]


class Made(NamedTuple):
    trial: Trial
    study: StudyConfig
    sdtm: Build
    adam: AdamBuild
    report: MonitoringReport

    def rows(self, name: str) -> Rows:
        return next(one for one in self.adam.datasets if one.name == name).records()

    def number(self, patient: str) -> str:
        return self.sdtm.subjects[patient]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root: Path = tmp_path_factory.mktemp("adam")
    generated = hospital.generate(root / "hospital" / "fhir", patients=92)
    workspace, trial = Workspace(root / "work"), pipeline.open_trial()
    pipeline.land(generated.folder, workspace, now=datetime(2019, 6, 3, tzinfo=UTC))
    screening = pipeline.screen(trial, workspace, as_of=AS_OF)
    report = monitoring.monitor(trial, workspace, as_of=AS_OF)
    study = load_study(trial.folder / "sdtm.yaml")
    names = {one.code: (one.title, *one.aliases) for one in trial.protocol.study.arms}
    arms = tuple(Arm(one.code, one.name, one.drugs, (*one.aliases, *names[one.code])) for one in study.arms)
    study = msgspec.structs.replace(study, site_id="SITE01", arms=arms)
    sdtm = build_sdtm(
        screening.facts, screening.decisions, study=study, specs=load_sdtm(ROOT / "mappings/sdtm"),
        key=KEY, snapshot_time=datetime(2019, 6, 3, tzinfo=trial.site.zone),
    )  # fmt: skip
    return Made(trial, study, sdtm, _adam(trial, study, sdtm, report), report)


def _adam(trial: Trial, study: StudyConfig, sdtm: Build, report: MonitoringReport) -> AdamBuild:
    specs = load_specs(FOLDER)
    return build_adam(sdtm, report.rows, protocol=trial.protocol, study=study, specs=specs)


def test_outcomes_by_arm_are_those_of_adapter_monitor(made: Made) -> None:
    """Every rate of the results table, both denominators: 6 outcomes, 2 arms, 2 populations."""
    arms = {arm.code: arm.name for arm in made.study.arms}
    compared = 0
    for outcome in made.report.results.outcomes:
        for rate in outcome.rates:
            flag = "ANL02FL" if rate.population == "evaluated" else "ANL01FL"
            own = [
                row
                for row in made.rows("ADRS")
                if row["PARAMCD"] == ENDPOINTS[outcome.id] and row["TRTP"] == arms[rate.arm]
                and row[flag] == "Y"
            ]  # fmt: skip
            assert (sum(row["AVAL"] == 1 for row in own), len(own)) == (rate.met, rate.of), rate
            assert all((row["AVAL"] == 1) == (row["AVALC"] == "Y") for row in own)
            compared += rate.of
    assert compared > 200  # 22 people: the table is not empty


def test_responses_by_visit_are_those_of_adapter_monitor(made: Made) -> None:
    words = {"complete": "CR", "partial": "PR", "none": "NR", "relapse": "RELAPSE"}
    wanted = Counter(
        (made.number(row.subject), visit.name, words[visit.response])
        for row in made.report.rows
        for visit in row.visits
        if visit.response != "unknown"
    )
    found = [row for row in made.rows("ADRS") if row["PARAMCD"] == "REMSTAT"]
    assert Counter((row["SUBJID"], row["AVISIT"], row["AVALC"]) for row in found) == wanted
    assert all(row["SRCDOM"] == "LB" for row in found)


def test_times_are_those_of_adapter_monitor(made: Made) -> None:
    """AVAL counts the first day as 1; a relapse counts from the first remission."""
    rows = {(row["SUBJID"], row["PARAMCD"]): row for row in made.rows("ADTTE")}
    events = 0
    for person in made.report.rows:
        days, number = dict(person.days_to), made.number(person.subject)
        for code, event, since in (
            ("TTREM", "remission", 0),
            ("TTCR", "complete_remission", 0),
            ("TTRELAPS", "relapse", days.get("remission")),
        ):
            row = rows.get((number, code))
            if event in days:
                assert row is not None
                assert since is not None
                assert (row["AVAL"], row["CNSR"]) == (days[event] - since + 1, 0)
                events += 1
            elif since is None:
                assert row is None
            else:
                assert row is not None
                assert row["CNSR"] in (1, 2)
    assert events > 20


def test_the_analysed_protein_is_the_one_that_the_response_rests_on(made: Made) -> None:
    """SRCSEQ of ADLB's ANL01FL leads to the same SDTM record as the evidence; criteria say the response."""
    sources = {(one.source.reference, one.concept): one for one in made.sdtm.origins}
    rows = {
        (row["SUBJID"], row["AVISIT"]): row
        for row in made.rows("ADLB")
        if row["PARAMCD"] == "UPE24" and row["ANL01FL"] == "Y"
    }
    seen = Counter[str]()
    for person in made.report.rows:
        for visit in person.visits:
            if visit.response == "unknown":
                continue
            row = rows[made.number(person.subject), visit.name]
            used = {
                sources[one.source.reference, one.concept].number
                for one in visit.evidence
                if one.role == "used" and visit.first.isoformat() <= one.when[:10] <= visit.last.isoformat()
            }
            assert row["SRCSEQ"] in used
            assert (row["CRIT1FL"] == "Y") == (visit.response == "complete")
            if visit.response == "partial":
                assert row["CRIT2FL"] == "Y"
            if visit.response == "none":
                assert (row["CRIT1FL"], row["CRIT2FL"]) == ("N", "N")
            seen[visit.response] += 1
    assert min(seen[one] for one in ("complete", "partial", "none")) > 5


def test_thresholds_and_windows_come_from_the_protocol(made: Made) -> None:
    rows = made.rows("ADLB")
    assert {row["CRIT1"] for row in rows if row["CRIT1"]} == {"UPE24 < 0.3 g/day"}
    assert {row["CRIT2"] for row in rows if row["CRIT2"]} == {"UPE24 fell by > 50 % from its peak"}
    assert {row["CRIT3"] for row in rows if row["CRIT3"]} == {"PLA2RAB < 20 RU/mL"}
    windows = {
        (row["AVISITN"], row["AVISIT"], row["AWLO"], row["AWTARGET"], row["AWHI"])
        for row in rows
        if row["AWLO"] is not None
    }
    # days 21..35 and so on of protocol.yaml, where the day of randomisation is 0 and here 1
    assert windows == {
        (1, "Week 4", 22, 29, 36), (2, "Week 8", 50, 57, 64), (3, "Week 12", 78, 85, 92),
        (4, "Month 6", 155, 169, 197), (5, "Week 36", 239, 253, 267), (6, "Week 48", 323, 337, 351),
    }  # fmt: skip


def test_a_threshold_changed_in_the_protocol_changes_the_criterion(made: Made, tmp_path: Path) -> None:
    written = (made.trial.folder / "protocol.yaml").read_text(encoding="utf-8")
    old = "- complete: {reading: protein_at_visit, below: 0.3 g/d}"
    assert old in written
    (tmp_path / "protocol.yaml").write_text(written.replace(old, old.replace("0.3", "0.5")), encoding="utf-8")
    from adapter import protocol

    changed = protocol.load(tmp_path, made.trial.vocabulary)
    specs = load_specs(FOLDER)
    again = build_adam(made.sdtm, made.report.rows, protocol=changed, study=made.study, specs=specs)
    rows = next(one for one in again.datasets if one.name == "ADLB").records()
    assert {row["CRIT1"] for row in rows if row["CRIT1"]} == {"UPE24 < 0.5 g/day"}


def test_populations_of_the_demo(made: Made) -> None:
    """22 on the study, 6 of them without week 48; each flag agrees with what monitoring says."""
    rows = {row["SUBJID"]: row for row in made.rows("ADSL")}
    assert Counter(row["ITTFL"] for row in rows.values())["Y"] == len(made.report.rows) == 22
    for person in made.report.rows:
        row = rows[made.number(person.subject)]
        known = next(one for one in person.visits if one.visit == "W48").response != "unknown"
        assert row["COMPLFL"] == ("Y" if known else "N")
        assert row["RANDDT"] is not None
        assert day_text(int(row["RANDDT"])) == str(person.randomised)  # type: ignore[call-overload]
    assert all(row["TRT01P"] for row in rows.values() if row["ITTFL"] == "Y")


def test_a_package_that_conforms_has_no_remarks(made: Made) -> None:
    assert check_adam(made.adam.datasets, made.sdtm.datasets) == ()
    assert all(one.rows for one in made.adam.datasets)


def test_the_order_of_the_input_does_not_show(made: Made) -> None:
    rows = list(made.report.rows)
    random.Random(3).shuffle(rows)  # noqa: S311 - an order, not a secret
    shuffled = msgspec.structs.replace(
        made.sdtm, people=made.sdtm.people[::-1], datasets=made.sdtm.datasets[::-1]
    )
    again = _adam(made.trial, made.study, shuffled, MonitoringReport(tuple(rows), made.report.results))
    assert again == made.adam


def test_somebody_monitored_who_does_not_leave_is_counted(made: Made) -> None:
    gone, *others = made.report.rows
    subjects = {key: value for key, value in made.sdtm.subjects.items() if key != gone.subject}
    people = tuple(one for one in made.sdtm.people if one.subjid in subjects.values())
    sdtm = msgspec.structs.replace(made.sdtm, subjects=subjects, people=people)
    again = _adam(made.trial, made.study, sdtm, made.report)
    assert again.withheld["subjects MONITORED_NOT_EXPORTED"] == 1
    assert len(next(one for one in again.datasets if one.name == "ADSL").rows) == len(people)
    assert others


def test_nothing_learnt_after_a_withdrawal_is_told(made: Made) -> None:
    """The same people, each withdrawn the day before the window of week 48: nobody is evaluated there."""
    zero = {made.number(row.subject): row.randomised for row in made.report.rows}
    people = tuple(
        msgspec.structs.replace(one, until=day + timedelta(days=321))
        if (day := zero.get(one.subjid)) is not None
        else one
        for one in made.sdtm.people
    )
    again = _adam(made.trial, made.study, msgspec.structs.replace(made.sdtm, people=people), made.report)
    rows = next(one for one in again.datasets if one.name == "ADRS").records()
    for row in rows:
        assert row["AVISIT"] != "Week 48" or row["PARAMCD"] != "REMSTAT"
        if row["PARAMCD"] in ("CRW48", "PRW48", "REMW48", "IMRW48"):
            assert (row["AVALC"], row["DTYPE"], row["ANL02FL"], row["SRCSEQ"]) == ("N", "NRI", None, None)
    adverse = [row for row in rows if row["PARAMCD"] == "AEW48" and row["ANL02FL"] == "Y"]
    assert adverse, "events before the withdrawal still count"
    assert all(row["AVALC"] == "Y" for row in adverse)


# --- rules ---


def _changed(
    dataset: Dataset, change: Callable[[dict[str, Cell]], None], where: Callable[..., bool]
) -> Dataset:
    """The dataset with the first row that fits changed."""
    rows, done = [], False
    for record in dataset.records():
        if not done and where(record):
            change(record)
            done = True
        rows.append(tuple(record.values()))
    assert done, "no such row to change"
    return msgspec.structs.replace(dataset, rows=tuple(rows))


def _set(**values: Cell) -> Callable[[dict[str, Cell]], None]:
    return lambda record: record.update(values)


FAULTS: list[tuple[str, str, dict[str, Cell], Callable[[dict[str, Cell]], bool]]] = [
    ("AD01", "ADLB", {"PARAM": ""}, lambda row: True),
    ("AD01", "ADSL", {"SITEID": ""}, lambda row: True),
    ("AD02", "ADSL", {"USUBJID": "NCT03864250-SITE01-X"}, lambda row: row["ITTFL"] == "N"),
    ("AD02", "ADRS", {"USUBJID": "NCT03864250-SITE01-X"}, lambda row: True),
    ("AD03", "ADLB", {"PARAM": "Albumin (mg/L)"}, lambda row: row["PARAMCD"] == "ALB"),
    ("AD03", "ADLB", {"AVISITN": 9}, lambda row: row["AVISIT"] == "Week 12"),
    ("AD03", "ADTTE", {"PARAMN": 9}, lambda row: True),
    ("AD04", "ADRS", {"AVALC": "N"}, lambda row: row["AVALC"] == "Y"),
    ("AD05", "ADLB", {"ABLFL": "Y"}, lambda row: row["PARAMCD"] == "UPE24" and row["AVISIT"] == "Week 4"),
    ("AD06", "ADLB", {"BASE": Fraction(1)}, lambda row: row["BASE"] is not None and row["CHG"] is None),
    ("AD06", "ADLB", {"CHG": Fraction(99)}, lambda row: row["CHG"] is not None),
    ("AD06", "ADLB", {"PCHG": Fraction(1)}, lambda row: row["PCHG"] is not None),
    ("AD06", "ADLB", {"AVAL": None}, lambda row: row["CHG"] is not None),
    ("AD07", "ADLB", {"ANL01FL": "Y"}, lambda row: row["AVISIT"] == "Baseline" and row["ANL01FL"] is None),
    ("AD08", "ADLB", {"ANL01FL": "N"}, lambda row: row["ANL01FL"] is None),
    ("AD08", "ADSL", {"SAFFL": ""}, lambda row: True),
    ("AD09", "ADLB", {"CRIT1": ""}, lambda row: row["CRIT1FL"] == "Y"),
    ("AD09", "ADLB", {"CRIT1": "UPE24 < 0.5 g/day"}, lambda row: row["CRIT1FL"] == "Y"),
    ("AD10", "ADLB", {"SRCSEQ": 99_999}, lambda row: True),
    ("AD10", "ADRS", {"SRCDOM": "IS"}, lambda row: row["SRCDOM"] == "LB" and row["SRCSEQ"] > 50),
    ("AD10", "ADLB", {"SRCVAR": "LBNOSUCH"}, lambda row: row["SRCDOM"] == "LB"),
    ("AD11", "ADTTE", {"ASEQ": 1}, lambda row: row["ASEQ"] == 2),
    ("AD12", "ADTTE", {"AVAL": 5000}, lambda row: True),
    ("AD12", "ADTTE", {"CNSR": -1}, lambda row: True),
    ("AD12", "ADTTE", {"CNSDTDSC": ""}, lambda row: row["CNSR"] == 1),
    ("AD13", "ADSL", {"TRTEDT": 1}, lambda row: row["TRTSDT"] is not None),
    ("AD13", "ADSL", {"RANDDT": None}, lambda row: row["RANDFL"] == "Y"),
    ("AD14", "ADRS", {"ANL02FL": "Y"}, lambda row: row["DTYPE"] == "NRI"),
]


@pytest.mark.parametrize(
    ("rule", "name", "values", "where"),
    FAULTS,
    ids=[f"{rule} {name} {values}" for rule, name, values, _ in FAULTS],
)
def test_a_seeded_fault_is_caught_by_its_rule(
    made: Made, rule: str, name: str, values: dict[str, Cell], where: Callable[[dict[str, Cell]], bool]
) -> None:
    datasets = [
        _changed(one, _set(**values), where) if one.name == name else one for one in made.adam.datasets
    ]
    found = check_adam(datasets, made.sdtm.datasets)
    assert rule in {remark.rule for remark in found}, found
    assert all(isinstance(remark, Remark) for remark in found)


def test_every_rule_has_a_seeded_fault() -> None:
    assert {rule for rule, *_ in FAULTS} == set(RULES) == set(ADAM_RULES)


ANY_DATASET: list[tuple[str, str, dict[str, Cell], Callable[[dict[str, Cell]], bool]]] = [
    ("TERM_UNKNOWN", "ADSL", {"SEX": "MALE"}, lambda row: True),
    ("TERM_EXTENDED", "ADLB", {"DTYPE": "GUESS"}, lambda row: row["DTYPE"] in (None, "")),
    ("REQUIRED_EMPTY", "ADRS", {"PARAMCD": ""}, lambda row: True),
    ("NOT_ASCII", "ADLB", {"AVALC": "\u2265 3"}, lambda row: True),
    ("TEXT_LENGTH", "ADSL", {"SUBJID": "0" * 30}, lambda row: True),
    ("CELL_TYPE", "ADLB", {"AVAL": "3"}, lambda row: row["BASE"] is None),
    ("STUDY_VALUE", "ADTTE", {"STUDYID": "NCT00000000"}, lambda row: True),
]


@pytest.mark.parametrize(
    ("rule", "name", "values", "where"), ANY_DATASET, ids=[f"{one[0]} {one[1]}" for one in ANY_DATASET]
)
def test_rules_of_any_dataset_hold_for_analysis_too(
    made: Made, rule: str, name: str, values: dict[str, Cell], where: Callable[[dict[str, Cell]], bool]
) -> None:
    specs = load_specs(FOLDER)
    datasets = [
        _changed(one, _set(**values), where) if one.name == name else one for one in made.adam.datasets
    ]
    found = adam_gate(datasets, made.sdtm.datasets, specs, ()).problems
    assert (rule, name, next(iter(values))) in {(one.rule, one.dataset, one.variable) for one in found}


def test_a_label_a_key_and_a_dataset_that_are_wrong_are_told(made: Made) -> None:
    specs = load_specs(FOLDER)
    adsl = next(one for one in made.adam.datasets if one.name == "ADSL")
    others = [one for one in made.adam.datasets if one.name != "ADSL"]
    label = msgspec.structs.replace(adsl.columns[0], label="Study")
    relabelled = msgspec.structs.replace(adsl, columns=(label, *adsl.columns[1:]))
    twice = msgspec.structs.replace(adsl, rows=(*adsl.rows, adsl.rows[-1]))
    for wrong, expected in (
        ((relabelled, *others), ("COLUMNS", "ADSL", "STUDYID")),
        ((twice, *others), ("KEY_TWICE", "ADSL", "USUBJID")),
        ((adsl, *others[1:]), ("NO_SPECIFICATION", others[0].name, "")),
    ):
        found = adam_gate(wrong, made.sdtm.datasets, specs, ()).errors
        assert expected in {(one.rule, one.dataset, one.variable) for one in found}


def _write(made: Made, adam: AdamBuild, folder: Path, target: Path) -> ExportReport:
    return write_adam(
        adam, made.sdtm.datasets, study=made.study, specs=load_specs(folder), folder=folder, target=target,
        snapshot_time=datetime(2019, 6, 3, tzinfo=made.trial.site.zone),
    )  # fmt: skip


def test_a_finding_stops_the_export_unless_it_is_waived_with_a_reason(made: Made, tmp_path: Path) -> None:
    """Both are in the manifest in the shape that SDTM's findings have."""
    wrong = msgspec.structs.replace(
        made.adam,
        datasets=tuple(
            _changed(one, _set(SAFFL=""), lambda row: True) if one.name == "ADSL" else one
            for one in made.adam.datasets
        ),
    )
    with pytest.raises(ExportError, match=r"AD08 ADSL\.SAFFL") as refused:
        _write(made, wrong, FOLDER, tmp_path / "out")
    assert "mappings/adam/waivers.yaml" in refused.value.fix
    assert not (tmp_path / "out").exists()
    folder = tmp_path / "adam"
    shutil.copytree(FOLDER, folder)
    reason = "The safety population is decided by the sponsor after the data are cut."
    (folder / "waivers.yaml").write_text(
        (FOLDER / "waivers.yaml").read_text()
        + f"  - {{rule: AD08, dataset: ADSL, variable: SAFFL, reason: {reason!r}}}\n"
        f"  - {{rule: KEY_TWICE, dataset: ADLB, variable: ASEQ, reason: {reason!r}}}\n"
    )
    _write(made, wrong, folder, tmp_path / "out")
    checks = json.loads((tmp_path / "out/manifest.json").read_bytes())["checks"]
    assert checks["errors"] == 0
    assert {"rule": "AD08", "dataset": "ADSL", "variable": "SAFFL", "count": 1, "reason": reason} in checks[
        "waived"
    ]
    empty = {one["variable"] for one in checks["waived"] if one["rule"] == "REQUIRED_EMPTY"}
    assert empty == {"AGE", "AGEU", "ARM", "TRT01P"}
    assert checks["unusedWaivers"] == ["KEY_TWICE ADLB.ASEQ"]


def test_a_required_variable_that_is_not_there_is_told(made: Made) -> None:
    adsl = next(one for one in made.adam.datasets if one.name == "ADSL")
    index = [column.name for column in adsl.columns].index("TRT01P")
    without = msgspec.structs.replace(
        adsl,
        columns=adsl.columns[:index] + adsl.columns[index + 1 :],
        rows=tuple(row[:index] + row[index + 1 :] for row in adsl.rows),
    )
    others = [one for one in made.adam.datasets if one.name != "ADSL"]
    found = check_adam([without, *others], made.sdtm.datasets)
    assert [(one.rule, one.dataset, one.variable) for one in found] == [("AD01", "ADSL", "TRT01P")]


# --- specifications ---


def _guide() -> dict[str, dict[str, Any]]:
    if not GUIDE.exists():
        pytest.skip("the extract of ADaMIG 1.3 is not on this machine")
    content = json.loads(GUIDE.read_text(encoding="utf-8"))
    return {name: {one["name"]: one for one in part["vars"]} for name, part in content.items()}


def test_labels_and_types_are_those_of_adamig() -> None:
    guide = _guide()
    for spec in load_specs(FOLDER).datasets.values():
        known = guide["ADSL"] if spec.name == "ADSL" else {**guide["ADSL"], **guide["BDS"]}
        for variable in spec.dataset.variables:
            if variable.name in OWN | FROM_SDTM:
                continue
            name = next(_generic(variable.name, known))
            label = known[name]["label"]
            period = variable.name.startswith("TRT01")
            wanted = label.replace("xx", "01") if period else label
            wanted = wanted.replace(" zz", " 01" if variable.name == "ANL01FL" else " 02")
            wanted = "".join(
                " " + _digit(variable.name) if part == "y" else f" {part}" for part in wanted.split()
            )
            assert variable.label == wanted.strip(), variable.name
            numeric = variable.type in ("integer", "float")
            assert numeric == (known[name]["type"] == "Num"), variable.name
            if known[name]["core"] == "Req":
                assert variable.core == "Req" or variable.name in ("SUBJID", "SITEID"), variable.name


def _generic(name: str, known: dict[str, Any]) -> Iterator[str]:
    for generic in (name, name.replace("01", "xx"), name.replace("01", "zz"), name.replace("02", "zz")):
        if generic in known:
            yield generic
    for digit in "123":
        if name.replace(digit, "y") in known:
            yield name.replace(digit, "y")


def _digit(name: str) -> str:
    return next((one for one in name if one.isdigit()), "")


BROKEN = [
    ("adlb.yaml", "{derive: percent_change}", "{derive: per_cent}", "no method 'per_cent'"),
    ("adsl.yaml", "{copy: DM.AGE}", "{copy: Patient.birthDate}", "only DM and ADSL"),
    (
        "adlb.yaml",
        "{parameter: UPE24, response: partial}",
        "{parameter: UPE25, response: partial}",
        "of nothing",
    ),
    ("adrs.yaml", "code: PRW48", "code: CRW48", "given twice"),
    ("adtte.yaml", "name: ADTTE", "name: ADTTX", "another name"),
    ("adrs.yaml", "codelist: [DTYPE]", "codelist: [DTYPES]", "no codelist"),
    ("adlb.yaml", "maximum_of: UPE24", "maximum_of: UPE2", "maximum of nothing"),
]


@pytest.mark.parametrize(("file", "old", "new", "told"), BROKEN)
def test_a_wrong_specification_is_answered_with_file_and_line(
    tmp_path: Path, file: str, old: str, new: str, told: str
) -> None:
    for path in FOLDER.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        if path.name == file:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    with pytest.raises(MappingError, match=told) as fault:
        load_specs(tmp_path)
    assert f"{file}:" in str(fault.value)


def test_a_specification_that_asks_the_protocol_for_nothing_is_refused(made: Made, tmp_path: Path) -> None:
    for path in FOLDER.glob("*.yaml"):
        text = path.read_text(encoding="utf-8").replace("endpoint: O4", "endpoint: O9")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    with pytest.raises(ExportError, match="no endpoint O9"):
        build_adam(
            made.sdtm, made.report.rows, protocol=made.trial.protocol, study=made.study,
            specs=load_specs(tmp_path),
        )  # fmt: skip
