"""Patients and merges, pitfalls E-24, E-26 and E-28; one row of a table per situation."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from adapter.mappers import index, r4
from adapter.mappers.context import Context, Mapped
from adapter.mappers.people import identity
from adapter.mappers.people.patient import map_patient
from adapter.model import wire
from adapter.model.facts import Subject
from adapter.model.issue import Issue
from adapter.model.resource import RawResource

SHANGHAI = ZoneInfo("Asia/Shanghai")


def patient(id: str, *links: tuple[str, str], version: str = "1", **elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": id,
        "meta": {"versionId": version},
        "link": [{"type": kind, "other": {"reference": other}} for kind, other in links],
        **elements,
    }


def mapped(*records: dict[str, Any]) -> tuple[list[Mapped], tuple[Subject, ...], tuple[Issue, ...]]:
    lines = [json.dumps(record, ensure_ascii=False).encode() for record in records]
    people = [r4.decode(line, r4.Patient) for line in lines]
    merges = identity.resolve(people)
    context = Context(
        terminology=cast(Any, None),
        zone=SHANGHAI,
        index=index.build(people, (), (), merges.survivors),
    )
    each = [
        map_patient(one, RawResource(line, f"Patient.ndjson:{number}", "Patient"), context)
        for number, (one, line) in enumerate(zip(people, lines, strict=True), 1)
    ]
    subjects, issues = identity.fold([row for one in each for row in one.subjects], merges)
    return each, subjects, issues


def only(*records: dict[str, Any]) -> Subject:
    _, subjects, _ = mapped(*records)
    assert len(subjects) == 1
    return subjects[0]


# --- one record ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("birth", "first", "last"),
    [
        ("1967-03-14", date(1967, 3, 14), date(1967, 3, 14)),
        ("1938", date(1938, 1, 1), date(1938, 12, 31)),  # E-26: every day of the year
        ("2000-02", date(2000, 2, 1), date(2000, 2, 29)),
    ],
)
def test_a_birth_date_keeps_its_precision(birth: str, first: date, last: date) -> None:
    found = only(patient("p", birthDate=birth)).birth
    assert found is not None
    assert (found.first, found.last, found.text) == (first, last, birth)


@pytest.mark.parametrize(
    ("elements", "sex", "flags"),
    [
        ({"gender": "male"}, "male", ()),
        ({"gender": "Female"}, "female", ()),
        ({}, "unknown", ()),
        ({"gender": "banana"}, "unknown", ()),
        (
            {
                "gender": "male",
                "extension": [
                    {
                        "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex",
                        "valueCode": "F",
                    }
                ],
            },
            "unknown",
            ("SEX_DISCORDANT",),
        ),
        (
            {
                "gender": "female",
                "extension": [
                    {
                        "url": "http://hl7.org/fhir/StructureDefinition/patient-sexParameterForClinicalUse",
                        "extension": [
                            {
                                "url": "value",
                                "valueCodeableConcept": {"coding": [{"code": "female-typical"}]},
                            }
                        ],
                    }
                ],
            },
            "female",
            (),
        ),
    ],
)
def test_sex_is_known_only_if_nothing_contradicts_it(
    elements: dict[str, Any], sex: str, flags: tuple[str, ...]
) -> None:
    found = only(patient("p", **elements))
    assert (found.sex, found.flags) == (sex, flags)


def test_death_is_a_fact_with_or_without_its_date() -> None:
    dated = only(patient("p", deceasedDateTime="2019-05-05T16:30:00Z"))
    assert dated.deceased
    assert dated.death is not None
    assert dated.death.day == date(2019, 5, 6)  # E-24: 00:30 in Shanghai
    assert only(patient("p", deceasedBoolean=True)).deceased
    assert not only(patient("p", deceasedBoolean=False)).deceased
    assert not only(patient("p")).deceased


def test_an_unreadable_birth_date_is_reported_and_not_guessed() -> None:
    each, subjects, _ = mapped(patient("p", birthDate="14/03/1967"))
    assert subjects[0].birth is None
    assert [issue.code for issue in each[0].issues] == ["BAD_DATE"]
    assert each[0].outcome == "facts"


def test_a_patient_without_id_is_an_issue() -> None:
    each, subjects, _ = mapped({"resourceType": "Patient", "gender": "male"})
    assert (subjects, each[0].outcome) == ((), "issue")


def test_nothing_that_says_who_it_is_leaves_the_mapper() -> None:
    record = patient(
        "p",
        birthDate="1967-03-14",
        gender="banana CANARY",
        name=[{"text": "CANARY"}],
        identifier=[{"system": "urn:x", "value": "CANARY"}],
        address=[{"text": "CANARY"}],
        telecom=[{"value": "CANARY"}],
    )
    each, subjects, issues = mapped(record)
    assert b"CANARY" not in wire.encode((each, subjects, issues))


# --- E-28: merges ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "records",
    [
        (patient("old", ("replaced-by", "Patient/new")), patient("new")),
        (patient("old"), patient("new", ("replaces", "Patient/old"))),
        (patient("old", ("replaced-by", "Patient/new")), patient("new", ("replaces", "Patient/old"))),
        (patient("old", ("replaced-by", "https://h.example/fhir/Patient/new/_history/3")), patient("new")),
        (patient("old", ("replaced-by", "urn:uuid:new")), patient("new")),
    ],
    ids=["replaced-by", "replaces", "both", "absolute", "urn"],
)
def test_links_lead_to_the_survivor(records: tuple[dict[str, Any], ...]) -> None:
    for order in (records, records[::-1]):
        each, subjects, issues = mapped(*order)
        assert [(one.id, one.merged, one.flags) for one in subjects] == [("new", ("old",), ("MERGED",))]
        assert subjects[0].source.reference == "Patient/new"
        assert {one.outcome for one in each} == {"facts"}
        assert [one.code for one in issues] == ["MERGED"]


def test_a_chain_is_followed_to_its_end() -> None:
    found = only(
        patient("a", ("replaced-by", "Patient/b"), birthDate="1967-03-14"),
        patient("b", ("replaced-by", "Patient/c")),
        patient("c", gender="male"),
    )
    assert (found.id, found.merged, found.sex) == ("c", ("a", "b"), "male")
    assert found.birth is not None  # the survivor's own record has none: it comes with the merge


def test_a_survivor_that_was_never_sent_is_still_the_person() -> None:
    found = only(patient("old", ("replaced-by", "Patient/new"), birthDate="1967-03-14"))
    assert (found.id, found.source.reference) == ("new", "Patient/old")
    assert "SURVIVOR_MISSING" in found.flags


def test_see_also_is_a_suggestion_and_merges_nobody() -> None:
    _, subjects, issues = mapped(patient("a", ("seealso", "Patient/b")), patient("b"))
    assert [(one.id, one.merged, one.excluded) for one in subjects] == [("a", (), ""), ("b", (), "")]
    assert [(one.code, one.severity) for one in issues] == [("MERGE_SUGGESTED", "information")]


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        (
            (patient("a", ("replaced-by", "Patient/b")), patient("b", ("replaced-by", "Patient/a"))),
            "MERGE_CYCLE",
        ),
        ((patient("a", ("replaced-by", "Patient/a")),), "MERGE_CYCLE"),
        (
            (
                patient("a", ("replaced-by", "Patient/b"), ("replaced-by", "Patient/c")),
                patient("b"),
                patient("c"),
            ),
            "MERGE_AMBIGUOUS",
        ),
    ],
    ids=["ring", "itself", "two survivors"],
)
def test_links_that_contradict_each_other_name_nobody(
    records: tuple[dict[str, Any], ...], reason: str
) -> None:
    _, subjects, issues = mapped(*records)
    assert len(subjects) == len(records)  # nobody is folded into anybody
    assert {one.excluded for one in subjects} == {reason}
    assert {one.code for one in issues} == {reason}


def test_two_roads_to_one_survivor_are_no_contradiction() -> None:
    found = only(
        patient("a", ("replaced-by", "Patient/b"), ("replaced-by", "Patient/c")),
        patient("b", ("replaced-by", "Patient/c")),
        patient("c"),
    )
    assert (found.id, found.merged, found.excluded) == ("c", ("a", "b"), "")


@pytest.mark.parametrize(
    ("old", "new", "birth", "flag"),
    [
        ("1967-03-14", "1967-03-14", "1967-03-14", False),
        ("1967-03-14", "1976-03-14", None, True),
        ("1967", "1967-03-14", "1967-03-14", False),
        ("1966", "1967-03-14", None, True),
    ],
)
def test_two_birth_dates_leave_none(old: str, new: str, birth: str | None, flag: bool) -> None:
    found = only(patient("old", ("replaced-by", "Patient/new"), birthDate=old), patient("new", birthDate=new))
    assert (found.birth.text if found.birth else None) == birth
    assert ("BIRTH_CONFLICT" in found.flags) is flag


def test_two_sexes_leave_unknown() -> None:
    found = only(
        patient("old", ("replaced-by", "Patient/new"), gender="male"), patient("new", gender="female")
    )
    assert found.sex == "unknown"
    assert "SEX_CONFLICT" in found.flags


def test_the_same_record_sent_twice_is_no_merge_and_the_later_version_stands() -> None:
    found = only(
        patient("p", version="10", birthDate="1967-03-14"), patient("p", version="9", birthDate="1966-03-14")
    )
    assert found.birth is not None
    assert (found.birth.text, found.source.version, found.merged) == ("1967-03-14", "10", ())
