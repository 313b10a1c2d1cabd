"""``adapter explain``: every link of the chain, from worked cases whose numbers stand in cases.yaml."""

from __future__ import annotations

import json
from datetime import date
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapter import assurance, explaining, pipeline
from adapter.cli.app import app
from adapter.errors import ConfigError, NotFound
from adapter.model import wire
from adapter.model.coverage import Coverage
from adapter.model.decision import Decision, Verdict
from adapter.model.facts import Facts, Source, Subject
from adapter.model.funnel import Sifted, funnel_of
from adapter.pipeline import Screening, Trial
from adapter.protocol.chain import Chain, chain, results_of


@cache
def trial() -> Trial:
    return pipeline.open_trial(site="")


@cache
def reports() -> tuple[assurance.CaseReport, ...]:
    return assurance.check_cases(trial(), trial().folder / "cases.yaml")


@cache
def decisions() -> dict[str, Decision]:
    return {report.case: report.decision for report in reports()}


def chained(case: str, criterion: str) -> Chain:
    return chain(
        trial().protocol, results_of(decisions()[case]), criterion, explaining.voice_of(trial(), "en")
    )


def test_the_chain_from_sentence_to_what_would_change_it() -> None:
    """V1: 8.0 g/24 h against "> 8 g/24h": not met, on the boundary."""
    found = chained("V1", "INCL03A")
    assert (found.text, found.source) == ("Urinary protein >8g/24h", "NCT03864250, inclusion 3, first bullet")
    [line] = found.rule
    [(_, words)] = line.when
    assert words.startswith("the latest Protein in 24-hour urine from 28 days before screening")
    assert words.endswith("is above 8 g/d")
    [used] = found.used
    assert (used.source.reference, used.when) == ("Observation/upro24", "2019-05-28")
    assert (used.original, used.value) == ("8.0 g/(24.h)", "8 g/d")
    assert found.verdict is Verdict.NOT_MET
    assert "BOUNDARY" in found.flags
    assert [other.verdict for other in found.other_lines] == [Verdict.MET]


def test_other_readings_of_the_sentence_stand_beside_the_verdict() -> None:
    found = chained("P0", "INCL03C")
    assert [(other.name, other.verdict) for other in found.alternatives] == [
        ("own_limit", Verdict.NOT_MET),
        ("six_times", Verdict.NOT_MET),
    ]


def test_a_combination_names_its_parts_with_their_verdicts() -> None:
    parts = {part.id: part.verdict for part in chained("P0", "INCL03").parts}
    assert parts == {
        "INCL03A": Verdict.MET,
        "INCL03B": Verdict.NOT_MET,
        "INCL03C": Verdict.NOT_MET,
        "INCL03D": Verdict.NOT_MET,
        "INCL03E": Verdict.NOT_MET,
    }


def test_named_readings_are_explained() -> None:
    meanings = dict(chained("P0", "INCL03B").readings)
    assert meanings == {
        "albumin_now": "the latest Serum albumin from 28 days before screening to randomisation"
    }


@pytest.mark.parametrize("criterion", [found.id for found in trial().protocol.walk()])
def test_nothing_of_the_verdict_is_lost_or_added(criterion: str) -> None:
    for decision in decisions().values():
        found = chain(trial().protocol, results_of(decision), criterion, explaining.voice_of(trial(), "en"))
        result = decision.criterion(criterion)
        told = sorted((*found.used, *found.ignored, *found.support), key=wire.encode)
        assert told == sorted(result.evidence, key=wire.encode)
        assert (found.verdict, found.reason, found.flags) == (result.verdict, result.reason, result.flags)
        assert (found.settles, found.distance) == (result.settles, result.distance)
        assert found.settles or found.verdict is not Verdict.UNKNOWN or not found.rule


def screening(versions: dict[str, str] | None = None, protocol: str = "NCT03864250") -> Screening:
    """The decision on P0 as if it were kept; the person was merged from another record."""
    decision = decisions()["P0"]
    person = Subject(
        id=decision.subject, source=Source(f"Patient/{decision.subject}"), merged=("old-record",)
    )
    facts = Facts(subjects=(person,), coverage=(Coverage("Patient", complete=True),))
    funnel = funnel_of(1, facts, (decision,), enrolled=frozenset(), diagnoses=(), counted=())
    day = date(2019, 6, 3)
    return Screening(day, protocol, versions or {}, Sifted(0, 0, ()), funnel, facts, (decision,))


@pytest.mark.parametrize("asked", ["the id", "Patient/", "merged"])
def test_a_person_is_found_by_id_reference_or_merged_record(asked: str) -> None:
    own = decisions()["P0"].subject
    name = {"the id": own, "Patient/": f"Patient/{own}", "merged": "old-record"}[asked]
    assert explaining.decision_of(trial(), screening(), name) is decisions()["P0"]


def test_what_is_watched_on_the_study_is_explained_too() -> None:
    """V19a: 9.60 to 4.80 is a fall of 50.0 %, not above 50 %: neither remission, and exactly on the limit."""
    [report] = [one for one in reports() if one.case == "V19a"]
    results = results_of(report.decision, report.monitoring)
    [found] = explaining.chains_of(trial(), results, "O2", explaining.voice_of(trial(), "en"))
    assert (found.verdict, "BOUNDARY" in found.flags) == (Verdict.NOT_MET, True)
    assert found.kind == "endpoint"
    [line] = found.rule
    assert line.when == ((0, "the response at this visit is partial remission"),)
    meanings = dict(found.readings)
    assert meanings["complete remission"] == "the reading “protein_at_visit” is below 0.3 g/d"
    assert meanings["partial remission"].endswith("by above 50 %")


def test_who_or_what_is_not_there_is_said_with_what_to_do() -> None:
    with pytest.raises(NotFound, match=r"decisions\.ndjson") as nobody:
        explaining.decision_of(trial(), screening(), "nobody")
    assert nobody.value.exit_code == 65
    assert "nobody" not in str(nobody.value)  # an id typed by mistake may be a name
    with pytest.raises(NotFound, match="INCL03A"):
        explaining.chains_of(
            trial(), results_of(decisions()["P0"]), "INCL3", explaining.voice_of(trial(), "en")
        )
    with pytest.raises(NotFound, match="adapter monitor"):
        explaining.chains_of(trial(), results_of(decisions()["P0"]), "O1", explaining.voice_of(trial(), "en"))


def test_rules_that_changed_since_do_not_explain_older_verdicts() -> None:
    with pytest.raises(ConfigError, match="screen again"):
        explaining.decision_of(trial(), screening({"protocol_sha256": "0" * 64}), "P0")
    with pytest.raises(ConfigError, match="--protocol"):
        explaining.decision_of(trial(), screening(protocol="NCT00000000"), "P0")


def test_the_command_prints_the_chain_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "read_screening", lambda workspace: screening())
    own = decisions()["P0"].subject
    shown = CliRunner().invoke(app, ["explain", own, "INCL03A", "--site", ""])
    assert shown.exit_code == 0, shown.output
    for link in (
        "Urinary protein >8g/24h",
        "Observation/upro24",
        "9.0 g/(24.h)",
        "9 g/d > 8 g/d",
        "1 g/d above",
    ):
        assert link in shown.output
    whole = CliRunner().invoke(app, ["explain", own, "--site", "", "--lang", "zh"])
    assert "最近一次24小时尿蛋白定量" in whole.output
    rows = CliRunner().invoke(app, ["explain", own, "INCL03", "--json", "--site", ""]).output.splitlines()
    assert [json.loads(row)["id"] for row in rows] == [
        "INCL03", "INCL03A", "INCL03B", "INCL03C", "INCL03D", "INCL03E",
    ]  # fmt: skip
