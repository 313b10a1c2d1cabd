"""The protocol as FHIR: valid R4, whole, and in step with the Questionnaires that are shipped."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class

from adapter import pipeline
from adapter.cli import render_view
from adapter.protocol.render.fhir import asked, item_type
from adapter.protocol.render.page import asked_links

FOLDERS = sorted(path.parent for path in Path("mappings/protocols").glob("*/protocol.yaml"))
MAIN = Path("mappings/protocols/NCT03864250")


@cache
def trial(folder: Path) -> pipeline.Trial:
    return pipeline.open_trial(folder, site="")


@cache
def resources(folder: Path) -> dict[str, dict[str, Any]]:
    written = render_view.rendered(trial(folder), "fhir", "en")
    return {json.loads(text)["resourceType"]: json.loads(text) for text in written.values()}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_resource_is_valid(folder: Path) -> None:
    found = resources(folder)
    assert {"ResearchStudy", "Group", "PlanDefinition"} <= set(found)
    for kind, resource in found.items():
        model = get_fhir_model_class(kind).model_validate(resource)
        assert json.loads(model.model_dump_json()) == resource


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_group_is_whom_the_study_is_for(folder: Path) -> None:
    protocol = trial(folder).protocol
    told = {
        one["code"]["coding"][0]["code"]: (one["code"]["text"], one["exclude"], one["valueBoolean"])
        for one in resources(folder)["Group"]["characteristic"]
    }
    assert list(told) == list(protocol.counts)
    for name, (text, exclude, value) in told.items():
        assert text == protocol.criterion(name).text
        assert exclude is (protocol.criterion(name).kind == "exclusion")
        assert value is True


def test_the_group_of_the_main_study_as_its_record_reads() -> None:
    group = resources(MAIN)["Group"]
    assert (group["type"], group["actual"], group["quantity"]) == ("person", False, 124)
    first = group["characteristic"][0]
    assert first["code"]["text"] == "Age: 18 - 80 years"
    assert first["code"]["_text"]["extension"][0]["extension"][1]["valueString"] == "年龄18-80岁"
    assert [one["exclude"] for one in group["characteristic"]] == [False] * 4 + [True] * 11


def test_the_study_names_its_arms_group_and_plan() -> None:
    study = resources(MAIN)["ResearchStudy"]
    assert study["identifier"] == [{"system": "https://clinicaltrials.gov", "value": "NCT03864250"}]
    assert [arm["name"] for arm in study["arm"]] == ["TAC", "TACPRED"]
    assert study["enrollment"] == [{"reference": f"Group/{resources(MAIN)['Group']['id']}"}]
    assert study["protocol"] == [{"reference": f"PlanDefinition/{resources(MAIN)['PlanDefinition']['id']}"}]


def test_the_plan_has_each_visit_with_its_window() -> None:
    actions = {one["id"]: one for one in resources(MAIN)["PlanDefinition"]["action"]}
    window = actions["W48"]["timingRange"]
    assert (window["low"]["value"], window["high"]["value"], window["low"]["code"]) == (322, 350, "d")
    protocol = trial(MAIN).protocol
    assert len(actions) == len(protocol.visits) + len(protocol.plan.due)
    goals = [goal["description"]["text"] for goal in resources(MAIN)["PlanDefinition"]["goal"]]
    assert "Complete remission at 48 weeks: urine protein <0.3g/24h" in goals


def shipped(folder: Path) -> dict[str, Any]:
    found = render_view.questionnaire_of(trial(folder).protocol.questionnaire)
    return dict(found) if found else {}


@pytest.mark.parametrize("folder", [one for one in FOLDERS if shipped(one)], ids=lambda folder: folder.name)
def test_the_shipped_questionnaire_asks_what_the_protocol_needs(folder: Path) -> None:
    """Each linkId is there with a type that its tests can be made of; choices offer every code asked for."""
    items = {item["linkId"]: item for item in shipped(folder)["item"]}
    needed = asked(trial(folder).protocol)
    assert sorted(set(needed) - set(items)) == []
    fits = {"date": {"date", "dateTime"}, "decimal": {"decimal", "string", "integer", "quantity"}}
    for link, tests in needed.items():
        kind = item_type(tests)
        assert items[link]["type"] in fits.get(kind, {kind}), link
    assert shipped(folder)["url"] == trial(folder).protocol.questionnaire.split("|")[0]


def test_the_main_study_ships_its_questionnaire() -> None:
    assert shipped(MAIN)["id"] == resources(MAIN)["Questionnaire"]["id"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_questionnaire_asks_everything_once(folder: Path) -> None:
    protocol = trial(folder).protocol
    if not protocol.questionnaire:
        pytest.skip("this protocol asks nobody")
    links = [item["linkId"] for item in resources(folder)["Questionnaire"]["item"]]
    assert links == sorted(asked_links(protocol))


@pytest.mark.parametrize(
    ("link", "kind"),
    [
        ("biopsy-done", "boolean"),
        ("biopsy-stage", "choice"),
        ("onset-date", "date"),
        ("fibrosis-percent", "string"),
        ("consent", "choice"),
    ],
)
def test_types_of_questions(link: str, kind: str) -> None:
    items = {item["linkId"]: item for item in resources(MAIN)["Questionnaire"]["item"]}
    assert items[link]["type"] == kind
    if link == "consent":
        codes = [option["valueCoding"]["code"] for option in items[link]["answerOption"]]
        assert codes == ["refused", "signed", "withdrawn"]
