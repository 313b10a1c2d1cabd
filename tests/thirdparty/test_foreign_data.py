"""Data nobody here wrote is read whole: no crash, every resource accounted for, every number as written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest
from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from adapter import pipeline, protocol
from adapter.mappers import MAPPERS
from adapter.model import wire
from adapter.model.decision import Overall, Verdict
from adapter.model.facts import Facts
from tests.thirdparty import packages
from tests.thirdparty.conftest import AS_OF, NOW, Read, read

pytestmark = pytest.mark.thirdparty
Show = Callable[[str, dict[str, int]], None]


def named(facts: Facts) -> set[str]:
    """``Type/id`` of every resource that left a row."""
    tables = (facts.subjects, facts.findings, facts.events, facts.interventions)
    return {row.source.reference for table in tables for row in table}


def test_the_numbers_add_up(package: Read, tolerance: Show) -> None:
    sent = Counter(row["resourceType"] for row in package.rows)
    assert sum(sent.values()) == package.landing.lines > 900
    assert {one.resource_type: one.read for one in package.facts.accounts} == dict(sent)
    assert all(one.balanced for one in package.facts.accounts)
    totals = {
        "read": package.landing.lines,
        "became facts": sum(one.facts for one in package.facts.accounts),
        "became an issue": sum(one.issues for one in package.facts.accounts),
        "not relevant": sum(one.not_relevant for one in package.facts.accounts),
    }
    tolerance(f"{package.name}: resources", totals)
    tolerance(
        f"{package.name}: issues",
        Counter(f"{one.code}{' (no facts)' * one.fatal_for_resource}" for one in package.issues),
    )


def test_every_resource_is_found_again_by_its_name(package: Read) -> None:
    """Counting could hide a loss and a double; here each ``Type/id`` is looked up."""
    left_rows = named(package.facts)
    refused = {one.reference for one in package.facts.issues if one.fatal_for_resource}
    for account in package.facts.accounts:
        mine = {
            packages.reference(row)
            for row in package.distinct
            if row["resourceType"] == account.resource_type
        }
        silent = mine - left_rows - refused
        assert account.facts == len(mine & left_rows)
        if account.resource_type in MAPPERS:
            assert len(silent) == account.not_relevant
        else:
            assert account.facts == 0


def test_only_repeated_lines_were_refused(package: Read) -> None:
    repeated = len(package.rows) - len(package.distinct)
    refused = Counter(one.code for one in package.facts.issues if one.fatal_for_resource)
    assert refused == (Counter(DUPLICATE_RESOURCE=repeated) if repeated else Counter())


def test_every_number_is_read_in_the_characters_it_was_written_in(package: Read) -> None:
    observations = [row for row in package.distinct if row["resourceType"] == "Observation"]
    written = Counter(reading for row in observations for reading in packages.numbers(row))
    found = Counter(
        packages.Reading(row.concept, row.subject, row.original, row.original_unit)
        for row in package.facts.findings
        if row.category != "derived" and row.code.code in packages.LOINC and row.original
    )
    assert found == written
    assert {"weight", "height", "creatinine", "systolic_bp"} <= {reading.concept for reading in written}


@pytest.mark.parametrize(
    ("concept", "source_unit", "unit", "factor"),
    [
        ("weight", "kg", "kg", Fraction(1)),
        ("height", "cm", "cm", Fraction(1)),
        # 113.12 g/mol (C4H7N3O): 1 mg/dL = 10 mg/L = 88.4 umol/L, which every laboratory table rounds so.
        ("creatinine", "mg/dL", "umol/L", Fraction("88.4")),
        ("albumin", "g/dL", "g/L", Fraction(10)),
    ],
)
def test_values_are_converted_and_nothing_else(
    package: Read, concept: str, source_unit: str, unit: str, factor: Fraction
) -> None:
    rows = [
        row
        for row in package.facts.findings
        if row.concept == concept and row.original_unit == source_unit and not row.derived_from
    ]
    assert rows
    for row in rows:
        assert row.unit == unit
        assert row.value is not None
        assert row.value.low == row.value.high
        assert row.value.low is not None
        assert abs(row.value.low / (Fraction(row.original) * factor) - 1) < Fraction(1, 1000)


@pytest.mark.parametrize(
    ("resource_type", "table", "category"),
    [
        ("Patient", "subjects", ""),
        ("Condition", "events", "diagnosis"),
        ("Encounter", "events", "encounter"),
        ("Procedure", "events", "procedure"),
        ("AllergyIntolerance", "events", "allergy"),
        ("MedicationRequest", "interventions", "order"),
        ("MedicationAdministration", "interventions", "administration"),
    ],
)
def test_each_class_gets_the_rows_of_its_resources(
    package: Read, resource_type: str, table: str, category: str
) -> None:
    written = {packages.reference(row) for row in package.distinct if row["resourceType"] == resource_type}
    rows = [row for row in getattr(package.facts, table) if row.source.reference in written]
    assert written or (
        package.name == "carebundle" and resource_type in ("Procedure", "MedicationAdministration")
    )
    assert {row.source.reference for row in rows} == written
    assert {getattr(row, "kind", getattr(row, "category", "")) for row in rows} <= {category}


def test_everyone_referred_to_is_a_patient_who_was_sent(package: Read) -> None:
    """``urn:uuid`` references of Bundles and relative ones alike lead to Patient.id."""
    sent = {row["id"] for row in package.distinct if row["resourceType"] == "Patient"}
    assert {one.id for one in package.facts.subjects} == sent
    tables = (package.facts.findings, package.facts.events, package.facts.interventions)
    named_in_rows = {row.subject for table in tables for row in table}
    assert named_in_rows - {""} <= sent
    unowned = {row.source.reference.partition("/")[0] for table in tables for row in table if not row.subject}
    assert not unowned


def rejected_by_r4b(rows: list[bytes]) -> Iterator[tuple[str, str]]:
    """(``Type/id``, where) of each resource that the strict R4B models refuse."""
    for line in rows:
        head = msgspec.json.decode(line, type=packages.Head)
        try:
            get_fhir_model_class(head.resourceType).model_validate_json(line)
        except ValidationError as fault:
            where = ".".join(str(part) for part in fault.errors()[0]["loc"])
            yield f"{head.resourceType}/{head.id}", f"{head.resourceType}.{where}"


def test_resources_that_strict_models_reject_are_read(
    clinosim: Read, clinosim_folder: Path, tolerance: Show
) -> None:
    """clinosim writes ``MedicationAdministration.dosage.timing``, which R4 does not have, among others."""
    rejected = dict(rejected_by_r4b(list(packages.lines(clinosim_folder))))
    tolerance("clinosim: rejected by R4B models, read here", Counter(rejected.values()))
    assert len(rejected) >= 99
    assert rejected.keys() <= named(clinosim.facts)
    given = {row.source.reference: row for row in clinosim.facts.interventions}
    for row in clinosim.distinct:
        if packages.reference(row) in rejected and row["resourceType"] == "MedicationAdministration":
            dose = given[packages.reference(row)]
            assert dose.kind == "administration"
            assert dose.status == row["status"]
            assert dose.start is not None
            assert dose.start.text == row["effectiveDateTime"]


def test_bundle_entries_without_ids_are_counted_and_make_nobody_eligible(
    carebundle_folder: Path, tmp_path: Path, trial: pipeline.Trial
) -> None:
    """Entries taken out of a Bundle without their ``fullUrl`` cannot say who they are: that is said."""
    folder = packages.unpacked(carebundle_folder, tmp_path / "ndjson", with_ids=False)
    found = read("no ids", folder, tmp_path / "workspace", trial)
    assert all(one.balanced for one in found.facts.accounts)
    assert found.facts.subjects == ()
    assert Counter(one.code for one in found.facts.issues)["NO_ID"] == 20


# ---- screened ---------------------------------------------------------------------------------------


def test_nobody_is_eligible_because_nothing_is_known(package: Read) -> None:
    """Every patient judged, candidate or not: what was never recorded is unknown and never in favour."""
    people = package.facts.by_subject()
    assert len(people) >= 10
    for own in people.values():
        decision = protocol.evaluate(package.trial.protocol, own, as_of=AS_OF, zone=package.trial.site.zone)
        assert decision.overall is not Overall.ELIGIBLE
        assert any(one.verdict is Verdict.UNKNOWN for one in decision.criteria)


@pytest.mark.parametrize("name", ["clinosim", "carebundle"])
def test_screened_end_to_end(name: str, request: pytest.FixtureRequest) -> None:
    """No one has membranous nephropathy, so there is no candidate; all lines are accounted for."""
    package: Read = request.getfixturevalue(name)
    workspace = pipeline.Workspace(package.landing.folder.parent)
    screening = pipeline.screen(package.trial, workspace, as_of=AS_OF)
    patients = sum(row["resourceType"] == "Patient" for row in package.distinct)
    assert (screening.funnel.patients, screening.funnel.candidates) == (patients, 0)
    assert screening.sifted.balanced
    assert screening.sifted.landed == package.landing.lines


def test_the_disease_alone_makes_no_one_eligible(
    carebundle: Read, carebundle_folder: Path, tmp_path: Path, trial: pipeline.Trial
) -> None:
    """The same twenty patients, each given the diagnosis and nothing else."""
    folder = packages.unpacked(carebundle_folder, tmp_path / "ndjson")
    ids = [row["id"] for row in carebundle.distinct if row["resourceType"] == "Patient"]
    with (folder / "Condition.ndjson").open("wb") as out:
        for number, patient in enumerate(ids):
            diagnosis = {
                "resourceType": "Condition",
                "id": f"mn-{number}",
                "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "N04.2"}]},
                "subject": {"reference": f"urn:uuid:{patient}"},
                "recordedDate": "2025-06-01",
            }
            out.write(wire.encode(diagnosis) + b"\n")
    workspace = pipeline.Workspace(tmp_path / "workspace")
    pipeline.land(folder, workspace, now=NOW)
    screening = pipeline.screen(trial, workspace, as_of=AS_OF)
    assert (screening.funnel.candidates, screening.funnel.eligible) == (20, 0)
    assert screening.sifted.balanced
