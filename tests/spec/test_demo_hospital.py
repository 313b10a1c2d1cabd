"""The synthetic hospital keeps what it promises to the rest of the tests.

What is checked here is the export itself, read with the standard library; the verdicts in the truth file
are checked for completeness, not recomputed.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapter.config import load_site, product_folder
from adapter.demo.dirt import DIRT
from adapter.demo.hospital import PLANTED, Summary, generate
from adapter.errors import ConfigError

SEED_PATIENTS = 2000
EXCLUSIONS = [f"EXCL{n:02}" for n in range(1, 12)]
INCLUSIONS = [f"INCL{n:02}" for n in range(1, 6)] + [f"INCL03{part}" for part in "ABCDE"]
SPELLINGS = r"""
μmol/L  µmol/L  "u/L"  "RU/ml"  g/24小时  g/24h  ０  肺栓塞?  "0--40"  男:9-50  "comparator":"<"  "<0.5
">1500  ≥8  N04.200x001  M32.102+N16.4*  \u  \/  "2018-11"  "entered-in-error"  "cancelled"
"preliminary"  "corrected"  家族史  /_history/1  hisDeptCode  "replaced-by"  "replaces"  "seealso"
T16:30:00Z  "hasMember"  "dataAbsentReason"  腹水  #drug  Medication/med-  待查
"""
BASE_URL = "https://fhir.demo-hospital.example/fhir/"


class Hospital(NamedTuple):
    summary: Summary
    rows: list[dict[str, Any]]
    raw: list[bytes]  # the lines of ``rows``
    broken: list[tuple[str, int]]
    truth: list[dict[str, Any]]

    def case(self, story: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        truth = next(each for each in self.truth if each["story"] == story)
        ids = {f"Patient/{truth['patient']}", f"Patient/{truth['patient']}m"}
        return truth, [row for row in self.rows if owner(row) in ids]


def owner(row: dict[str, Any]) -> str:
    if row["resourceType"] == "Patient":
        return f"Patient/{row['id']}"
    subject = row.get("subject") or row.get("patient") or row.get("individual") or {}
    reference = subject.get("reference", "").removeprefix(BASE_URL)
    return str(reference.split("/_history")[0])


def lines(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    for path in sorted(folder.glob("*.ndjson*")):
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        for number, line in enumerate(text.splitlines(), start=1):
            yield path.name, number, line


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    summary = generate(tmp_path_factory.mktemp("demo") / "fhir", patients=SEED_PATIENTS)
    rows, raw, broken = [], [], []
    for name, number, line in lines(summary.folder):
        try:
            row = json.loads(line, parse_float=Decimal)
        except json.JSONDecodeError:
            broken.append((name, number))
            continue
        rows.append(row)
        raw.append(line)
    truth = [json.loads(line) for line in summary.truth.read_bytes().splitlines()]
    return Hospital(summary, rows, raw, broken, truth)


def planted(hospital: Hospital) -> list[dict[str, Any]]:
    return [each for each in hospital.truth if each["story"] != "noise"]


# ---- the export -----------------------------------------------------------------------------------


def test_size_of_the_hospital(hospital: Hospital) -> None:
    persons = [row for row in hospital.rows if row["resourceType"] == "Patient" and row["active"]]
    assert len(persons) == SEED_PATIENTS
    assert 40 <= len(hospital.rows) / SEED_PATIENTS <= 60
    assert sum(hospital.summary.files.values()) < 120_000_000
    assert len(planted(hospital)) == hospital.summary.planted == PLANTED
    assert len({each["patient"] for each in planted(hospital)}) == PLANTED


def test_membranous_nephropathy_is_coded_only_where_planted(hospital: Hospital) -> None:
    coded = {
        owner(row).removeprefix("Patient/").rstrip("m")
        for row in hospital.rows
        if row["resourceType"] == "Condition"
        for coding in row["code"].get("coding", [])
        if coding["code"].startswith("N04.2") or coding["code"] == "77182004"
    }
    assert coded == {each["patient"] for each in planted(hospital)}


def test_manifest_lists_every_file_with_its_lines(hospital: Hospital) -> None:
    manifest = json.loads((hospital.summary.folder / "manifest.json").read_bytes())
    found = Counter(name for name, _, _ in lines(hospital.summary.folder))
    assert {entry["url"]: entry["count"] for entry in manifest["output"]} == dict(found)
    assert manifest["transactionTime"] == "2019-06-03T15:30:00Z"
    assert manifest["requiresAccessToken"] is False
    assert manifest["error"] == []
    assert {entry["url"].rsplit(".", 1)[-1] for entry in manifest["output"]} == {"ndjson", "gz"}
    observations = [entry["url"] for entry in manifest["output"] if entry["type"] == "Observation"]
    assert observations[:2] == ["Observation.0001.ndjson", "Observation.0002.ndjson.gz"]


def test_the_resource_types_of_the_trial_are_there(hospital: Hospital) -> None:
    wanted = """
        Patient Condition Observation MedicationRequest MedicationDispense MedicationAdministration
        MedicationStatement Medication Procedure DiagnosticReport Specimen AllergyIntolerance Consent
        Encounter ResearchSubject ResearchStudy AdverseEvent QuestionnaireResponse
    """
    assert set(hospital.summary.resources) == set(wanted.split())


def test_every_line_parses_except_the_two_planted(hospital: Hospital) -> None:
    noise = [(each["file"], each["line"]) for each in hospital.truth if each["story"] == "noise"]
    assert sorted(noise) == sorted(hospital.broken)
    assert len(noise) == hospital.summary.malformed == 2
    assert len({file for file, _ in noise}) == 1


def test_same_seed_same_bytes_whatever_the_environment(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from adapter.demo.hospital import generate; "
        "generate(Path(sys.argv[1]), patients=120)"
    )
    hashes = []
    for name, hash_seed, zone in (("a", "1", "UTC"), ("b", "4242", "America/St_Johns")):
        folder = tmp_path / name / "fhir"
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone, "LC_ALL": "C"}
        subprocess.run([sys.executable, "-c", code, str(folder)], env=env, check=True)
        files = sorted(path for path in folder.parent.rglob("*") if path.is_file())
        hashes.append(
            {str(p.relative_to(folder.parent)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
        )
    assert hashes[0] == hashes[1]
    assert "truth.ndjson" in hashes[0]


def test_one_patient_more_changes_no_other(tmp_path: Path) -> None:
    fewer = generate(tmp_path / "fewer" / "fhir", patients=PLANTED + 5, gzip=False)
    more = generate(tmp_path / "more" / "fhir", patients=PLANTED + 6, gzip=True)
    left = Counter(line for _, _, line in lines(fewer.folder))
    right = Counter(line for _, _, line in lines(more.folder))
    assert not left - right
    assert sum((right - left).values()) > 10
    assert all(path.suffix == ".gz" for path in more.folder.glob("*.ndjson*"))
    assert not list(fewer.folder.glob("*.gz"))


def test_another_seed_gives_other_bytes_and_the_same_plan(tmp_path: Path) -> None:
    first = generate(tmp_path / "1" / "fhir", patients=PLANTED, seed=1)
    second = generate(tmp_path / "2" / "fhir", patients=PLANTED, seed=2)
    assert (first.folder / "Patient.ndjson").read_bytes() != (second.folder / "Patient.ndjson").read_bytes()

    def verdicts(summary: Summary) -> list[tuple[str, str]]:
        rows = [json.loads(line) for line in summary.truth.read_bytes().splitlines()]
        return [(row["story"], row.get("overall", "")) for row in rows]

    assert verdicts(first) == verdicts(second)


def test_refuses_a_folder_with_foreign_data_and_too_few_patients(tmp_path: Path) -> None:
    (tmp_path / "Patient.ndjson").write_text("{}\n")
    with pytest.raises(ConfigError, match="did not write"):
        generate(tmp_path, patients=PLANTED)
    assert (tmp_path / "Patient.ndjson").read_text() == "{}\n"
    with pytest.raises(ValueError, match=str(PLANTED)):
        generate(tmp_path / "few", patients=10)


def test_references_resolve(hospital: Hospital) -> None:
    known = {f"{row['resourceType']}/{row['id']}" for row in hospital.rows}

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("reference"), str):
                yield node["reference"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    dangling = []
    for row in hospital.rows:
        held = {f"#{each['id']}" for each in row.get("contained", [])}
        for found in references(row):
            local = found.removeprefix(BASE_URL).split("/_history")[0]
            if found not in held and local not in known:
                dangling.append((row["resourceType"], row["id"], found))
    assert dangling == []


def test_nothing_is_dated_after_the_export(hospital: Hospital) -> None:
    limit = datetime(2019, 6, 3, 23, 30, tzinfo=timezone(timedelta(hours=8)))

    def stamps(node: Any) -> Iterator[datetime]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("validityPeriod", "text"):
                    continue
                yield from stamps(value)
        elif isinstance(node, list):
            for value in node:
                yield from stamps(value)
        elif isinstance(node, str) and len(node) >= 20 and node[4:5] == "-" and node[10:11] == "T":
            yield datetime.fromisoformat(node)

    late = [row["id"] for row in hospital.rows if any(stamp > limit for stamp in stamps(row))]
    assert late == []


def test_every_patient_carries_canaries(hospital: Hospital) -> None:
    for row in hospital.rows:
        if row["resourceType"] == "Patient":
            assert row["name"][0]["family"].startswith("CANARY-NAME-")
            assert row["identifier"][0]["value"].startswith("CANARY-MRN-")


def test_resources_are_valid_r4b_unless_broken_on_purpose(hospital: Hospital) -> None:
    on_purpose = {
        note["record"]
        for each in planted(hospital)
        for note in each["dirt"]
        if note["type"] == "unknown_fields"
    }
    special = {f"Patient/{each['patient']}" for each in planted(hospital)}
    taken: Counter[str] = Counter()
    refused = {}
    for row, line in zip(hospital.rows, hospital.raw, strict=True):
        kind = row["resourceType"]
        taken[kind] += 1
        if owner(row) in special or taken[kind] < 40:
            model = getattr(importlib.import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
            try:
                model.model_validate_json(line)
            except ValueError as error:
                refused[f"{kind}/{row['id']}"] = str(error)
    assert {key: refused[key] for key in refused if key not in on_purpose} == {}
    assert set(refused) == on_purpose


# ---- the plan and its truth -----------------------------------------------------------------------


def screening(hospital: Hospital) -> list[dict[str, Any]]:
    return [each for each in planted(hospital) if not each["enrolled"]]


def test_overall_verdicts_are_mixed(hospital: Hospital) -> None:
    found = Counter(each["overall"] for each in screening(hospital))
    assert 8 <= found["eligible"] <= 12
    assert found["undetermined"] >= 20
    assert found["ineligible"] >= 20
    assert set(found) == {"eligible", "undetermined", "ineligible"}


def test_each_criterion_decides_in_every_direction(hospital: Hospital) -> None:
    seen: dict[str, set[str]] = defaultdict(set)
    for each in screening(hospital):
        for criterion, verdict in each["criteria"].items():
            seen[criterion].add(verdict)
    for criterion in (*INCLUSIONS, *EXCLUSIONS):
        assert seen[criterion] == {"met", "not_met", "unknown"}, criterion
    for part in ("HB", "HC", "TB", "CM", "FU", "SY", "HI"):
        assert "not_met" in seen[f"EXCL02{part}"]


def failing(each: dict[str, Any], verdict: str) -> set[str]:
    """Criteria of the top level that have ``verdict``; I3 and I4 count as one (either is required)."""
    tops = ["INCL01", "INCL02", "INCL034", "INCL05", *EXCLUSIONS]
    return {top for top in tops if each["criteria"].get(top) == verdict}


def test_undetermined_lacks_one_thing_and_ineligible_fails_one(hospital: Hospital) -> None:
    for each in screening(hospital):
        if len(each["criteria"]) < 20:
            continue  # not a work-up: most criteria are left open
        unknown = failing(each, "unknown")
        wrong = {top for top in failing(each, "met") if top.startswith("EXCL")}
        wrong |= {top for top in failing(each, "not_met") if top.startswith("INCL")}
        expected = {"eligible": (0, 0), "undetermined": (1, 0), "ineligible": (0, 1)}[each["overall"]]
        assert (len(unknown), len(wrong)) == expected, each["story"]


def test_every_kind_of_dirt_is_in_three_patients(hospital: Hospital) -> None:
    found = Counter(kind for each in planted(hospital) for kind in {note["type"] for note in each["dirt"]})
    assert {kind: found[kind] for kind in DIRT if found[kind] < 3} == {}
    known = {f"{row['resourceType']}/{row['id']}" for row in hospital.rows}
    for each in planted(hospital):
        for note in each["dirt"]:
            assert note["expect"]
            assert note.get("record", "Patient/p00001") in known


@pytest.mark.parametrize("spelling", SPELLINGS.split())
def test_dirt_is_in_the_bytes(hospital: Hospital, spelling: str) -> None:
    assert any(spelling.encode() in line for line in hospital.raw)


def test_corrections_and_versions(hospital: Hospital) -> None:
    """Two lines of one id differ in version; the later version is not always the later line."""
    versions: dict[str, list[str]] = defaultdict(list)
    for row in hospital.rows:
        versions[f"{row['resourceType']}/{row['id']}"].append(row["meta"]["versionId"])
    repeated = [found for found in versions.values() if len(found) > 1]
    assert ["1", "2"] in repeated
    assert ["2", "1"] in repeated
    assert all(sorted(found) == ["1", "2"] for found in repeated)


# ---- single stories, by hand ----------------------------------------------------------------------


def values(rows: list[dict[str, Any]], loinc: str) -> list[dict[str, Any]]:
    return [
        row
        for row in rows
        if row["resourceType"] == "Observation"
        and any(coding["code"] == loinc for coding in row["code"].get("coding", []))
    ]


def test_story_corrected_protein(hospital: Hospital) -> None:
    truth, rows = hospital.case("protein-corrected")
    found = {row["status"]: row for row in values(rows, "2889-4")}
    assert found["final"]["valueQuantity"]["value"] == Decimal("9.0")
    assert found["corrected"]["valueQuantity"]["value"] == Decimal("6.8")
    assert found["final"]["identifier"] == found["corrected"]["identifier"]
    assert truth["overall"] == "ineligible"
    assert truth["criteria"]["INCL03A"] == "not_met"


def test_story_protein_from_volume(hospital: Hospital) -> None:
    _, rows = hospital.case("protein-from-volume")
    (concentration,) = values(rows, "21482-5")
    (volume,) = values(rows, "3167-4")
    assert values(rows, "2889-4") == []
    assert concentration["specimen"] == volume["specimen"]
    grams = concentration["valueQuantity"]["value"] * volume["valueQuantity"]["value"] / 100_000
    assert grams == Decimal("8.0025")


def test_story_midnight(hospital: Hospital) -> None:
    _, rows = hospital.case("midnight-utc")
    collected = [datetime.fromisoformat(row["effectiveDateTime"]) for row in values(rows, "1751-7")]
    local = {stamp.astimezone(timezone(timedelta(hours=8))).date() for stamp in collected}
    assert date(2019, 6, 3) - timedelta(days=28) in local


def test_merged_patients_are_split_over_both_records(hospital: Hospital) -> None:
    replaced = [row for row in hospital.rows if row["resourceType"] == "Patient" and not row["active"]]
    assert len(replaced) >= 3
    for old in replaced:
        survivor = old["link"][0]["other"]["reference"]
        owners = Counter(
            owner(row) for row in hospital.rows if owner(row) in (survivor, f"Patient/{old['id']}")
        )
        assert owners[survivor] > 5
        assert owners[f"Patient/{old['id']}"] > 5


def test_enrolled_courses(hospital: Hospital) -> None:
    courses = [each for each in planted(hospital) if each["enrolled"]]
    arms = Counter(each["enrolled"]["arm"] for each in courses)
    assert len(courses) >= 20
    assert abs(arms["Tacrolimus monotherapy"] - arms["Tacrolimus with prednisone"]) <= 1
    assert {each["enrolled"]["week48_response"] for each in courses} == {"CR", "PR", "NONE", None}
    assert {each["enrolled"]["exit"] for each in courses} == {None, "X1", "X2", "X5", "X8", "X11"}
    for each in courses:
        plan = each["enrolled"]
        start = date.fromisoformat(plan["randomised"])
        assert date(2018, 2, 1) <= start <= date(2018, 6, 30)
        _, rows = hospital.case(each["story"])
        (subject,) = [row for row in rows if row["resourceType"] == "ResearchSubject"]
        assert subject["assignedArm"] == plan["arm"]
        assert subject["period"]["start"] == plan["randomised"]
        events = [
            row for row in rows if row["resourceType"] == "AdverseEvent" and row["actuality"] == "actual"
        ]
        assert len(events) == plan["adverse_events"]


def test_course_by_hand_egfr(hospital: Hospital) -> None:
    """80 -> 110 -> 109 -> 107 umol/L: declines 1-(80/x)^1.209 = 31.96, 31.20, 29.64 %; dose 4, 2, 1 mg."""
    truth, rows = hospital.case("mono-egfr-quarter")
    start = date.fromisoformat(truth["enrolled"]["randomised"])
    by_day = {
        (date.fromisoformat(row["effectiveDateTime"][:10]) - start).days: row["valueQuantity"]["value"]
        for row in values(rows, "14682-9")
        if row["status"] == "final"
    }
    assert [by_day[day] for day in (-7, 70, 84, 98)] == [80, 110, 109, 107]
    doses = [(step["day"], step["mg_per_day"]) for step in truth["enrolled"]["tacrolimus_steps"]]
    assert doses == [(0, "4"), (70, "2"), (84, "1")]


def test_first_tacrolimus_dose_is_between_0_05_and_0_10_mg_per_kg(hospital: Hospital) -> None:
    for each in planted(hospital):
        if not each["enrolled"]:
            continue
        _, rows = hospital.case(each["story"])
        weights = [
            row["valueQuantity"]["value"]
            for row in values(rows, "29463-7")
            if row["effectiveDateTime"][:10] < each["enrolled"]["randomised"]
            and row["valueQuantity"]["value"] < 200
        ]
        per_kg = Decimal(each["enrolled"]["tacrolimus_steps"][0]["mg_per_day"]) / weights[0]
        assert Decimal("0.05") <= per_kg <= Decimal("0.10"), each["story"]


def test_the_site_folder_loads_and_maps_every_local_code_that_is_meant_to_be_mapped(
    hospital: Hospital,
) -> None:
    root = product_folder("mappings")
    site = load_site(root, "demo")
    assert site.time_zone == "Asia/Shanghai"
    assert f"{site.base_url}/" == BASE_URL
    with (root / "sites" / "demo" / "codes.csv").open(encoding="utf-8", newline="") as file:
        mapped = {row["code"] for row in csv.DictReader(file)}
    assert {"UPRO24", "ALB", "PLA2R", "CREA", "ifta-percent"} <= mapped
    assert not {"NDB24X", "KL6NEW"} & mapped  # left unmapped on purpose
