"""``adapter explain`` about ladders: the step reached, its trigger, the readings, the review, corrections.

The histories are worked cases of NCT03864250: 97.2 -> 66 is a fall of 32.10 %, above 30 %; day 70 is
2019-08-12, its review 11 to 17 days later 2019-08-23 to 2019-08-29.
"""

from __future__ import annotations

import json

import msgspec
import pytest
from typer.testing import CliRunner

from adapter import explaining, monitoring, pipeline
from adapter.cli.app import app
from adapter.errors import NotFound
from adapter.model.monitoring import Monitoring
from adapter.monitoring import MonitoringReport
from adapter.protocol.ladder_chain import LadderChain
from adapter.protocol.render.voice import Language
from adapter.protocol.results import results
from tests.spec.ladder_words import climbed
from tests.spec.test_explain import reports, screening, trial
from tests.spec.test_ladder_revisions import BASE, versions


def followed(case: str) -> Monitoring:
    [found] = [report.monitoring for report in reports() if report.case == case]
    assert found is not None
    return found


def ladder(case: str, name: str = "X8", language: Language = "en") -> LadderChain:
    [found] = explaining.ladders_of(trial(), followed(case), name, explaining.voice_of(trial(), language))
    return found


def test_the_step_its_trigger_its_readings_and_the_review() -> None:
    found = ladder("V24 review overdue")
    assert (found.state, found.state_name, str(found.entered)) == ("S1", "halved", "2019-08-12")
    [move] = found.moves
    assert (move.source, move.target, str(move.on), move.dose) == ("S0", "S1", "2019-08-12", "2 mg/d")
    assert move.trigger.startswith("fall 97.2 -> 66 = ~32.099 % > 30 %")
    assert move.action.startswith("halve the tacrolimus dose")
    readings = {(row.source.reference, row.when) for row in move.used if row.concept == "egfr"}
    assert readings == {("Observation/e0", "2019-05-28"), ("Observation/e70", "2019-08-12")}
    assert (str(found.review_first), str(found.review_last), found.overdue) == (
        "2019-08-23", "2019-08-29", True,
    )  # fmt: skip
    assert found.ways == (
        "to S2 quartered or at the minimum if, at the review, above 30 %",
        "to S1C continued on half dose if, at the review, at most 30 %",
    )
    assert any("due 2019-08-23 to 2019-08-29" in text for text in found.settles)


def test_what_is_measured_and_asked_for_in_chinese() -> None:
    found = ladder("V24 review overdue", language="zh")
    assert found.state_name == "减半"
    assert found.measured == "估算肾小球滤过率较基线的下降"
    assert found.ways[1] == "进入S1C 半量维持，若复查时不高于30 %"


def test_a_reading_that_moves_nothing_is_shown_all_the_same() -> None:
    """V24 exactly 30 %: on the limit is not above it."""
    found = ladder("V24 exactly 30 %")
    assert found.state == "S0"
    assert {row.role for row in found.latest} == {"used"}
    assert any("not > 30 %" in row.compared for row in found.latest)


def test_another_reading_of_the_text_that_ends_elsewhere_is_told() -> None:
    found = ladder("V24 a fall after a review in order")
    assert found.alternatives == (
        "a fall after a review that was in order is a new one, so the ladder goes back to the first halving",
    )


def test_what_was_corrected_is_told() -> None:
    state = climbed("X8", *BASE, *versions("66", "72", 70, 70, 75), on=100)
    row = msgspec.structs.replace(followed("V24 first halving"), ladders=(state,))
    [found] = explaining.ladders_of(trial(), row, "X8", explaining.voice_of(trial(), "en"))
    [text] = found.revisions
    assert text.startswith("would have been halved on 2019-08-12")
    assert text.endswith("result corrected on 2019-08-17")


def test_the_last_state_leads_nowhere() -> None:
    found = ladder("V24 stop")
    assert (found.state, found.terminal, found.ways, found.review_first) == ("S3", True, (), None)
    assert [move.target for move in found.moves if move.source != move.target] == ["S1", "S2", "S3"]


def test_a_ladder_that_nothing_is_kept_of_says_what_to_run() -> None:
    with pytest.raises(NotFound, match="adapter monitor"):
        explaining.ladders_of(trial(), None, "X8", explaining.voice_of(trial(), "en"))


ENGLISH = (
    "X8  ladder  S1",
    "stands     S1 halved, since 2019-08-12",
    "step       2019-08-12  S0 -> S1, 2 mg/d",
    "review     was due 2019-08-23 to 2019-08-29: overdue",
    "to change  to S2",
)
CHINESE = ("X8  阶梯  S1", "S1 减半, 自2019-08-12起", "已逾期", "如何改变", "进入S2")


@pytest.mark.parametrize(("language", "links"), [("en", ENGLISH), ("zh", CHINESE)])
def test_the_command_shows_ladders_in_both_languages(
    language: str, links: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = screening()
    own = kept.decisions[0].subject
    row = msgspec.structs.replace(followed("V24 review overdue"), subject=own)
    report = MonitoringReport((row,), results((row,)))
    monkeypatch.setattr(pipeline, "read_screening", lambda workspace: kept)
    monkeypatch.setattr(monitoring, "read_monitoring", lambda workspace: report)
    shown = CliRunner().invoke(app, ["explain", own, "X8", "--site", "", "--lang", language])
    assert shown.exit_code == 0, shown.output
    for link in links:
        assert link in shown.output
    as_json = CliRunner().invoke(app, ["explain", own, "X8", "--site", "", "--json"]).output.splitlines()
    assert [(one["kind"], one["id"]) for one in map(json.loads, as_json)] == [
        ("exit", "X8"),
        ("ladder", "X8"),
    ]
    assert json.loads(as_json[1])["moves"][0]["on"] == "2019-08-12"
    assert "X9" in CliRunner().invoke(app, ["explain", own, "--site", "", "--lang", language]).output
