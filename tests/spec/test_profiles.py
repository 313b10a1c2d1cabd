"""fhir_profiles/: what we promise to write, its examples, and the questionnaire for what only people know."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.errors import ExportError, MappingError
from adapter.writeback.profile import Profiles
from adapter.writeback.provenance import provenance
from adapter.writeback.resources import decode, r4_faults, validated
from tests.writeback_cases import NOW, decision

FOLDER = Path(__file__).resolve().parents[2] / "fhir_profiles"
BASE = "https://trial-fhir-adapter.org/fhir"
PROFILES = Profiles(FOLDER)
DEFINITIONS = sorted(FOLDER.glob("*.json"))
VALID = sorted((FOLDER / "examples" / "valid").glob("*.json"))
INVALID = sorted((FOLDER / "examples" / "invalid").glob("*.json"))
REASONS = yaml.safe_load((FOLDER / "examples" / "invalid" / "reasons.yaml").read_text(encoding="utf-8"))


def load(path: Path) -> Any:
    return decode(path.read_bytes())


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
def test_every_definition_is_valid_r4_and_sits_where_its_url_says(path: Path) -> None:
    resource = load(path)
    assert r4_faults(resource) == []
    assert path.name == f"{resource['resourceType']}-{resource['id']}.json"
    assert resource["url"] == f"{BASE}/{resource['resourceType']}/{resource['id']}"


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_every_valid_example_is_valid(path: Path) -> None:
    resource = load(path)
    assert r4_faults(resource) == []
    for profile in resource.get("meta", {}).get("profile", []):
        assert PROFILES.check(resource, profile.rpartition("/")[2]) == ()


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_every_invalid_example_fails_for_the_reason_it_states(path: Path) -> None:
    """Each is valid R4 to the models (which is why the profiles exist) and breaks exactly one thing."""
    stated = REASONS[path.stem]
    *place, kind = stated["reason"].split()
    faults = PROFILES.check(load(path), stated["profile"])
    assert {fault.code for fault in faults} == {kind}
    assert any(re.sub(r"\[\d+\]", "", fault.path).endswith("".join(place)) for fault in faults)


def test_reasons_and_invalid_examples_match_one_to_one() -> None:
    assert sorted(REASONS) == [path.stem for path in INVALID]


def test_every_profile_has_examples_of_both_kinds() -> None:
    ours = {load(path)["id"] for path in DEFINITIONS if path.stem.startswith("StructureDefinition-Trial")}
    shown = {
        profile.rpartition("/")[2]
        for path in VALID
        for profile in load(path).get("meta", {}).get("profile", [])
    }
    assert ours == shown == {stated["profile"] for stated in REASONS.values()}


def test_a_profile_the_checker_only_half_understands_is_refused(tmp_path: Path) -> None:
    definition = load(FOLDER / "StructureDefinition-TrialFlag.json")
    definition["differential"]["element"].append(
        {"id": "Flag.encounter", "path": "Flag.encounter", "maxLength": 3}
    )
    for path in DEFINITIONS:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "StructureDefinition-TrialFlag.json").write_text(json.dumps(definition))
    with pytest.raises(MappingError, match=r"maxLength"):
        Profiles(tmp_path)


def test_what_the_adapter_builds_is_checked_before_it_is_sent() -> None:
    built = provenance(
        decision("eligible"),
        ["ResearchSubject/s"],
        device="Device/d",
        activity="CREATE",
        base_version="",
        recorded=NOW,
    )
    assert validated(built, "TrialProvenance") is built
    with pytest.raises(ExportError, match=r"Provenance\.agent: MAX"):
        validated({**built, "agent": built["agent"] * 2}, "TrialProvenance")


def test_a_refusal_repeats_no_content() -> None:
    flag = load(FOLDER / "examples" / "valid" / "Flag-review.json")
    with pytest.raises(ExportError) as refusal:
        validated({**flag, "status": "zhang san", "colour": "zhang san"}, "TrialFlag")
    assert "zhang" not in str(refusal.value)


QUESTIONNAIRE = load(FOLDER / "Questionnaire-NCT03864250-attestation.json")
ITEMS = {item["linkId"]: item for item in QUESTIONNAIRE["item"]}
TYPES = {
    "boolean": {
        "biopsy-done",
        "idiopathic",
        "secondary-excluded",
        "serious-complication",
        "fungal-infection",
        "tuberculosis-excluded",
        "medication-history-complete",
        "serious-comorbidity",
        "child-bearing-potential",
        "lactating",
        "study-drug-allergy",
        "other-trial",
        "can-comply",
        "entry-violation",
        "prohibited-medication",
        "poor-compliance",
        "infection-uncontrolled",
        "glucose-uncontrolled",
        "unexplained-comorbidity",
        "study-stopped",
        "intake-as-advised",
    },
    "date": {
        "onset-date",
        "biopsy-date",
        "malignancy-end-of-treatment",
        "liver-protection-start",
        "tacrolimus-hold-start",
    },
    "dateTime": {"consent-date"},
    "string": {"fibrosis-percent"},
    "choice": {"biopsy-histology", "biopsy-stage", "consent", "ulcer", "malignancy"},
}
CHOICES = {
    "biopsy-histology": "membranous membranous-atypical other",
    "biopsy-stage": "I I-II II II-III III III-IV IV V",
    "consent": "signed refused withdrawn",
    "ulcer": "none active-untreated treated-or-healed",
    "malignancy": "none present cured",
}


class TestQuestionnaire:
    """Link ids, types and answers that mappers, protocol and synthetic hospital rely on."""

    def test_it_asks_exactly_these_questions(self) -> None:
        asked = {kind: {k for k, item in ITEMS.items() if item["type"] == kind} for kind in TYPES}
        assert (asked, len(ITEMS)) == (TYPES, 33)

    @pytest.mark.parametrize("link", CHOICES)
    def test_choices(self, link: str) -> None:
        options = [option["valueCoding"] for option in ITEMS[link]["answerOption"]]
        assert [option["code"] for option in options] == CHOICES[link].split()
        defined = {
            concept["code"] for concept in load(FOLDER / "CodeSystem-NCT03864250-attestation.json")["concept"]
        }
        assert {option["code"] for option in options} <= defined
        assert {option["system"] for option in options} == {f"{BASE}/CodeSystem/NCT03864250-attestation"}

    @pytest.mark.parametrize("link", ITEMS)
    def test_every_question_cites_its_criterion_and_speaks_chinese(self, link: str) -> None:
        item = ITEMS[link]
        criteria = {c["code"] for c in load(FOLDER / "CodeSystem-NCT03864250-criteria.json")["concept"]}
        assert {coding["code"] for coding in item["code"]} <= criteria
        assert re.search(r"(In|Ex)clusion|(in|ex)clusion|Exit|Dosing rule", item["text"])
        (translation,) = item["_text"]["extension"]
        parts = {part["url"]: part for part in translation["extension"]}
        assert parts["lang"]["valueCode"] == "zh-CN"
        assert any("\u4e00" <= sign <= "\u9fff" for sign in parts["content"]["valueString"])

    def test_no_question_must_be_answered(self) -> None:
        """An empty answer is "not attested" and stays unknown; forcing one would invent evidence."""
        assert not any(item["required"] for item in ITEMS.values())
