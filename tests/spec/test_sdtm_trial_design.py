"""Trial design: what NCT03864250 plans, written down by hand from its record, against the datasets."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import msgspec
import pytest

from adapter import pipeline
from adapter.errors import MappingError
from adapter.exports.dataset import Cell
from adapter.exports.sdtm import build_sdtm
from adapter.exports.study import Criterion, load_study
from adapter.exports.trial_design import summary_of
from adapter.model.facts import Facts
from tests.spec.sdtm_case import SPECIFICATIONS, STUDY_FILE


@cache
def built() -> dict[str, list[dict[str, Cell]]]:
    """Nobody takes part yet: the plan is there all the same."""
    study = load_study(STUDY_FILE)
    study = msgspec.structs.replace(
        study,
        protocol_version="2019-06-25",
        criteria=(Criterion("INCL01", "Age: 18 - 80 years", "INCLUSION"),),
        parameters=(*study.parameters, *summary_of("Tacrolimus if eGFR ≥ 30", 124)),
    )
    made = build_sdtm(
        Facts(),
        (),
        study=study,
        specs=SPECIFICATIONS,
        key=b"k" * 32,
        snapshot_time=datetime(2019, 6, 3, tzinfo=UTC),
    )
    return {one.name: one.records() for one in made.datasets}


def test_each_arm_is_screening_then_its_treatment_then_follow_up() -> None:
    assert [
        (row["ARMCD"], row["TAETORD"], row["ETCD"], row["EPOCH"], row["TABRANCH"]) for row in built()["TA"]
    ] == [
        ("TAC", 1, "SCRN", "SCREENING", "Randomized to Tacrolimus"),
        ("TAC", 2, "TAC", "TREATMENT", None),
        ("TAC", 3, "FUP", "FOLLOW-UP", None),
        ("TACPRED", 1, "SCRN", "SCREENING", "Randomized to Tacrolimus + Prednisone"),
        ("TACPRED", 2, "TACPRED", "TREATMENT", None),
        ("TACPRED", 3, "FUP", "FOLLOW-UP", None),
    ]


def test_elements_have_rules_for_their_start_and_end() -> None:
    rows = {row["ETCD"]: row for row in built()["TE"]}
    assert list(rows) == ["FUP", "SCRN", "TAC", "TACPRED"]
    assert (rows["TAC"]["TEDUR"], rows["SCRN"]["TESTRL"]) == ("P48W", "Informed consent signed")
    assert all(row["TESTRL"] for row in rows.values())


def test_visits_say_their_window() -> None:
    rows = {row["VISIT"]: row for row in built()["TV"]}
    assert len(rows) == 8
    week_48 = rows["WEEK 48"]
    assert (week_48["VISITNUM"], week_48["VISITDY"]) == (8, 337)
    assert (week_48["TVSTRL"], week_48["TVENRL"]) == ("Study day 309", "Study day 364")


def test_criteria_carry_the_version_of_the_protocol() -> None:
    assert built()["TI"] == [
        {
            "STUDYID": "NCT03864250",
            "DOMAIN": "TI",
            "IETESTCD": "INCL01",
            "IETEST": "Age: 18 - 80 years",
            "IECAT": "INCLUSION",
            "TIVERS": "2019-06-25",
        }
    ]


@pytest.mark.parametrize(
    ("parameter", "name", "values"),
    [
        ("TITLE", "Trial Title", ["Tacrolimus if eGFR >= 30"]),
        ("PLANSUB", "Planned Number of Subjects", ["124"]),
        ("NARMS", "Planned Number of Arms", ["2"]),
        ("AGEMIN", "Planned Minimum Age of Subjects", ["P18Y"]),
        ("AGEMAX", "Planned Maximum Age of Subjects", ["P80Y"]),
        ("REGID", "Registry Identifier", ["NCT03864250"]),
        ("RANDOM", "Trial is Randomized", ["Y"]),
    ],
)
def test_the_summary_says(parameter: str, name: str, values: list[str]) -> None:
    rows = [row for row in built()["TS"] if row["TSPARMCD"] == parameter]
    assert [row["TSVAL"] for row in rows] == values
    assert {row["TSPARM"] for row in rows} == {name}


def test_values_of_one_parameter_are_counted() -> None:
    rows = [row for row in built()["TS"] if row["TSPARMCD"] == "OUTMSPRI"]
    assert [row["TSSEQ"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) > 1


def test_what_is_reported_as_unmet_is_a_criterion_of_the_plan() -> None:
    """IE names only ids that TI explains; visits that rows carry are those of TV."""
    reported = {one.id for one in pipeline._reported(pipeline.open_trial(site="").protocol)}
    assert {"INCL01", "INCL034", "EXCL11"} <= reported
    assert date(2019, 6, 25).isoformat() == pipeline.open_trial(site="").protocol.version


def test_an_element_of_an_arm_that_is_not_there_is_refused(tmp_path: Path) -> None:
    text = STUDY_FILE.read_text(encoding="utf-8")
    (tmp_path / "sdtm.yaml").write_text(text.replace("arms: [TACPRED]", "arms: [PRED]"), encoding="utf-8")
    with pytest.raises(MappingError, match="no arm PRED"):
        load_study(tmp_path / "sdtm.yaml")
